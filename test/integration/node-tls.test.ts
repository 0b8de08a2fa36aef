import { readFileSync } from "node:fs";
import { get } from "node:https";
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { connect } from "../../src/client/index.js";
import { WebSocket } from "ws";
import { createCertificate } from "../support/certificate.js";
import { cleanUp, spawnNode, startTestNode } from "../support/nodes.js";
import { RawClient } from "../support/raw-client.js";

afterEach(cleanUp);

const files = ({ certFile, keyFile }: ReturnType<typeof createCertificate>) => ({
  tlsCertFile: certFile,
  tlsKeyFile: keyFile,
});

function page(url: string, ca: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    get(url, { ca, agent: false }, (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk.toString()));
      response.on("end", () => resolve({ status: response.statusCode, body }));
    }).on("error", reject);
  });
}

describe("a node with a certificate", () => {
  it("serves wss and https on its port, and says so", async () => {
    const certificate = createCertificate();
    const ca = certificate.pem;
    const node = await startTestNode(files(certificate));
    expect(node.wsUrl).toMatch(/^wss:\/\/127\.0\.0\.1:\d+$/);
    const [one, other] = [
      await node.client({ ca }),
      await node.client({ ca, subprotocol: "starling.v1.msgpack" }),
    ];
    for (const client of [one, other]) await client.do("subscribe", { channel: "a" });
    // More than a TLS record and than what the kernel takes at once.
    const content = "x".repeat(60_000);
    for (let i = 0; i < 20; i++) await one.do("send", { channel: "a", content });
    for (const client of [one, other]) {
      expect(await client.contents("a", 20)).toEqual(new Array<string>(20).fill(content));
    }
    expect(await page(node.wsUrl.replace("wss:", "https:"), ca)).toMatchObject({
      status: 404,
      body: expect.stringMatching(/The server API, .* are on apiPort\.\n$/) as string,
    });
    // The API is not the clients': it stays as it was.
    expect(node.apiUrl).toMatch(/^http:/);
    expect((await node.get("/readyz")).status).toBe(200);
  });

  it("is not trusted by whoever does not know the certificate, and serves others on", async () => {
    const certificate = createCertificate();
    const node = await startTestNode(files(certificate));
    await expect(RawClient.open(node.wsUrl)).rejects.toThrow(/self-signed certificate/);
    await node.client({ ca: certificate.pem });
  });

  it("takes nothing unencrypted, and nothing older than TLS 1.2", async () => {
    const certificate = createCertificate();
    const node = await startTestNode(files(certificate));
    const port = Number(new URL(node.wsUrl).port);
    await expect(RawClient.open(node.wsUrl.replace("wss:", "ws:"))).rejects.toThrow();
    const plain = connectTcp(port, "127.0.0.1");
    let answer = "";
    plain.on("data", (chunk) => (answer += chunk.toString("latin1")));
    plain.on("error", () => undefined);
    plain.write("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    await once(plain, "close");
    expect(answer).not.toContain("HTTP/1.1");
    const old = connectTls({ port, ca: certificate.pem, maxVersion: "TLSv1.1", minVersion: "TLSv1" });
    const [error] = (await once(old, "error").catch((thrown: unknown) => [thrown])) as [Error];
    expect(String(error)).toMatch(/alert|protocol|ECONNRESET|no protocols/i);
    await node.client({ ca: certificate.pem });
  });

  it("opens its key with the passphrase", async () => {
    const certificate = createCertificate({ passphrase: "open sesame" });
    const node = await startTestNode({ ...files(certificate), tlsKeyPassphrase: "open sesame" });
    await node.client({ ca: certificate.pem });
  });

  it("drains as any: clients of the SDK hear 1012 over TLS too", async () => {
    const certificate = createCertificate();
    const node = await startTestNode(files(certificate));
    class Trusting extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols, { ca: certificate.pem, perMessageDeflate: false });
      }
    }
    const client = connect(node.wsUrl, { WebSocket: Trusting });
    try {
      const heard = new Promise((resolve) => {
        client.on("state", (change) => {
          if (change.state === "connected") void node.drain();
          if (change.state === "waiting") resolve(change.reason);
        });
      });
      expect(await heard).toMatchObject({ code: 1012 });
    } finally {
      client.close();
    }
  });
});

describe("the command", () => {
  it("prints wss and https addresses", async () => {
    const certificate = createCertificate();
    const node = await spawnNode(files(certificate));
    expect(node.wsUrl).toMatch(/^wss:/);
    await node.client({ ca: certificate.pem });
  });

  it("says in one line which file is wrong", async () => {
    const { certFile } = createCertificate();
    const { keyFile } = createCertificate();
    const told = (options: Parameters<typeof spawnNode>[0]) =>
      spawnNode(options).then(
        () => Promise.reject(new Error("it started")),
        (error: Error) => error.message.split("\n").filter((line) => line.startsWith("starling:")),
      );
    expect(readFileSync(keyFile, "utf8")).toContain("PRIVATE KEY");
    expect(await told({ tlsCertFile: certFile, tlsKeyFile: keyFile })).toEqual([
      `starling: cannot start: tlsKeyFile: ${keyFile} is not the key of the certificate in ${certFile}`,
    ]);
    expect(await told({ tlsCertFile: "/nowhere.pem", tlsKeyFile: keyFile })).toEqual([
      "starling: cannot start: tlsCertFile: /nowhere.pem cannot be read: ENOENT: no such file or directory, open '/nowhere.pem'",
    ]);
  });
});
