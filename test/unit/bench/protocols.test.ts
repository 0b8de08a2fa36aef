import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseCommand } from "../../../bench/command.js";
import { protocolByName } from "../../../bench/protocols/index.js";
import { withoutSecrets } from "../../../bench/runner/secret.js";

function refusal(...argv: string[]): string {
  let said = "";
  try {
    parseCommand(argv, (program) => program.configureOutput({ writeErr: (text) => (said += text) }));
  } catch {
    return said;
  }
  throw new Error(`${argv.join(" ")} was taken`);
}

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));

describe("what the generator hears from Centrifugo", () => {
  const centrifugo = protocolByName("centrifugo");
  const answer = (acknowledged: boolean, result: object): Buffer => {
    const { id } = JSON.parse(centrifugo.publish("c", "x", acknowledged).toString()) as { id: number };
    return json({ id, ...result });
  };

  it.each([
    ["ping", Buffer.from("{}")],
    ["ready", json({ id: 1, connect: { client: "c", ping: 25, pong: true } })],
    ["reply", json({ id: 1, subscribe: {} })],
    ["reply", answer(true, { publish: {} })],
    ["other", answer(false, { publish: {} })],
    ["error", answer(false, { error: { code: 103, message: "permission denied" } })],
    ["error", json({ id: 1, error: { code: 109, message: "token expired" } })],
    ["other", json({ push: { channel: "c", join: { info: { user: '"error":' } } } })],
  ])("%s: %s", (heard, frame) => {
    expect(centrifugo.classify(frame)).toBe(heard);
  });
});

describe("what the generator says to and hears from a Pusher server", () => {
  const url = new URL("ws://127.0.0.1:6001/app/key");

  it.each([
    ["greeting", { event: "pusher:connection_established", data: '{"socket_id":"1.2"}' }],
    ["reply", { event: "pusher_internal:subscription_succeeded", channel: "c", data: "{}" }],
    ["reply", { channel: "c", event: "pusher_internal:subscription_succeeded" }],
    ["error", { event: "pusher:error", data: { code: 4301, message: "no" } }],
    ["error", { event: "pusher:subscription_error", channel: "c", data: { status: 401 } }],
    ["ping", { event: "pusher:ping", data: "{}" }],
    ["other", { event: "pusher:pong", data: "{}" }],
    ["other", { event: "pusher_internal:subscription_count", data: '{"subscription_count":1}' }],
    ["other", {}],
  ])("%s: %o", (heard, frame) => {
    expect(protocolByName("pusher").classify(json(frame))).toBe(heard);
  });

  it.each(["a string", "an object"])("signs the socket that a greeting names, its data %s", (form) => {
    const data = { socket_id: "12.34", activity_timeout: 30 };
    const greeting = json({
      event: "pusher:connection_established",
      data: form === "a string" ? JSON.stringify(data) : data,
    });
    const protocol = protocolByName("pusher", { secret: "s" });
    const signature = createHmac("sha256", "s").update("12.34:private-c").digest("hex");
    expect(JSON.parse(protocol.subscribeGreeted!("c", greeting, url).toString())).toEqual({
      event: "pusher:subscribe",
      data: { channel: "private-c", auth: `key:${signature}` },
    });
    expect(protocol.keepAlive!(greeting).everyMs).toBe(30_000);
  });

  it("is a user of its own in the bench's presence channels, by what it signs", () => {
    const protocol = protocolByName("pusher", { secret: "s" });
    const greeting = json({ event: "pusher:connection_established", data: '{"socket_id":"12.34"}' });
    const { data } = JSON.parse(protocol.subscribeGreeted!("presence:c", greeting, url).toString()) as {
      data: { channel: string; auth: string; channel_data: string };
    };
    const signed = `12.34:presence-c:${data.channel_data}`;
    const signature = createHmac("sha256", "s").update(signed).digest("hex");
    expect(data).toMatchObject({ channel: "presence-c", auth: `key:${signature}` });
    expect(JSON.parse(data.channel_data)).toMatchObject({ user_id: "12.34" });
  });

  it.each([{}, { activity_timeout: 0 }, { activity_timeout: 86_400 }])(
    "pings after two minutes: %o",
    (data) => {
      expect(protocolByName("pusher").keepAlive!(json({ data })).everyMs).toBe(120_000);
    },
  );

  it("takes public channels where there is no secret", () => {
    const protocol = protocolByName("pusher");
    expect(protocol).not.toHaveProperty("subscribeGreeted");
    expect(JSON.parse(protocol.subscribe("c").toString())).toEqual({
      event: "pusher:subscribe",
      data: { channel: "c", auth: "" },
    });
  });
});

describe("the command line of other protocols", () => {
  const pusher = ["--protocol", "pusher", "--attach", "ws://127.0.0.1:6001/app/key"];
  const keyless = ["--protocol", "pusher", "--attach", "ws://127.0.0.1:6001"];
  const centrifugo = ["--protocol", "centrifugo", "--attach", "ws://127.0.0.1:8000"];

  it.each([
    [["fanout", ...pusher], "give the app's secret with --secret or STARLING_BENCH_SECRET"],
    [["connect", ...keyless], "ws://127.0.0.1:6001 names no app: end it in the app's key"],
    [["ingest", ...pusher, "--secret", "s", "--ack"], "leave out --ack"],
    [["presence", ...pusher], "presence joins presence channels: give the app's secret"],
    [["http", ...pusher], "http signs its requests: give the app's secret"],
    [["history", ...pusher, "--secret", "s"], "history cannot be run over --protocol pusher"],
    [["http", ...centrifugo], "http cannot be run over --protocol centrifugo"],
    [["fanout", ...centrifugo, "--secret", "s"], "--secret is for --protocol pusher"],
  ])("refuses %o", (argv, why) => {
    expect(refusal(...argv)).toContain(why);
  });

  it("takes what can be run", () => {
    expect(parseCommand(["connect", ...pusher]).options.attach).not.toHaveProperty("secret");
    expect(parseCommand(["fanout", ...pusher, "--secret", "s"]).options.attach).toMatchObject({
      protocol: "pusher",
      secret: "s",
    });
    expect(parseCommand(["presence", ...centrifugo]).options.attach?.protocol).toBe("centrifugo");
  });

  it("shows no app secret", () => {
    expect(withoutSecrets(["--secret", "a", "--secret=b"]).join(" ")).toBe("--secret ... --secret=...");
  });
});
