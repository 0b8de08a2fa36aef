/* global Pusher */

const user = crypto.randomUUID();
const name = `Shopper ${user.slice(0, 4)}`;
const element = (id) => document.getElementById(id);

async function start() {
  const { key, wsHost, wsPort } = await (await fetch("/settings")).json();
  const pusher = new Pusher(key, {
    cluster: "",
    // The only lines that are about Starling.
    wsHost,
    wsPort,
    forceTLS: false,
    enabledTransports: ["ws", "wss"],
    channelAuthorization: { endpoint: "/pusher/auth", transport: "ajax", params: { user, name } },
  });

  const shop = pusher.subscribe("presence-shop");
  const showShoppers = () => {
    const names = [];
    shop.members.each(({ info }) => names.push(info.name));
    element("shoppers").textContent = names.join(", ");
  };
  shop.bind("pusher:subscription_succeeded", showShoppers);
  shop.bind("pusher:member_added", showShoppers);
  shop.bind("pusher:member_removed", showShoppers);

  pusher.subscribe("private-orders").bind("ordered", ({ item }) => showOrder(item));
  element("order").addEventListener("submit", (event) => {
    event.preventDefault();
    const item = new FormData(event.target).get("item");
    showOrder(item);
    void fetch("/orders", {
      method: "POST",
      body: JSON.stringify({ item, socket_id: pusher.connection.socket_id }),
    });
    event.target.reset();
  });
}

function showOrder(item) {
  const row = document.createElement("li");
  row.textContent = item;
  element("orders").append(row);
}

void start();
