import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createJwtAuthorizer } from "../../../src/auth/jwt.js";

const one = generateKeyPairSync("rsa", { modulusLength: 2048 });
const two = generateKeyPairSync("rsa", { modulusLength: 2048 });
const curve = generateKeyPairSync("ec", { namedCurve: "P-256" });

function jwk(key: KeyObject, kid: string | undefined) {
  return { ...key.export({ format: "jwk" }), ...(kid === undefined ? {} : { kid }), use: "sig" };
}

function sign(key: KeyObject, header: { alg: string; kid?: string }) {
  return new SignJWT({ sub: "42", channels: ["room"] })
    .setProtectedHeader(header)
    .setExpirationTime("1h")
    .sign(key);
}

const present = (token: string) => ({ app: "main", token });

describe("JWT authorizer with a key set URL", () => {
  let server: Server;
  let url: string;
  let fetches: number;
  let answer: { status: number; body: string };

  beforeEach(async () => {
    fetches = 0;
    answer = {
      status: 200,
      body: JSON.stringify({ keys: [jwk(one.publicKey, "one"), jwk(curve.publicKey, "ec")] }),
    };
    server = createServer((_request, response) => {
      fetches++;
      response.writeHead(answer.status, { "content-type": "application/json" }).end(answer.body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  });

  afterEach(() => {
    server.close();
    server.closeAllConnections();
  });

  it("accepts RS256 and ES256 tokens of the set's keys, and fetches the set once", async () => {
    const rs = createJwtAuthorizer({ algorithm: "RS256", jwksUrl: url });
    const token = await sign(one.privateKey, { alg: "RS256", kid: "one" });
    const identities = await Promise.all([rs.authenticate(present(token)), rs.authenticate(present(token))]);
    expect(identities.map((identity) => identity.maySubscribe("room"))).toEqual([true, true]);
    expect(fetches).toBe(1);

    const es = createJwtAuthorizer({ algorithm: "ES256", jwksUrl: url });
    const signed = await sign(curve.privateKey, { alg: "ES256", kid: "ec" });
    expect((await es.authenticate(present(signed))).userId).toBe("42");
  });

  it("refuses an unknown kid without asking again each time", async () => {
    const authorizer = createJwtAuthorizer({ algorithm: "RS256", jwksUrl: url });
    for (let i = 0; i < 5; i++) {
      const token = await sign(two.privateKey, { alg: "RS256", kid: `guess-${i}` });
      await expect(authorizer.authenticate(present(token))).rejects.toMatchObject({
        code: "token_invalid",
        message: `no RS256 key of the key set matches the token's "kid"`,
      });
    }
    expect(fetches).toBe(1);
  });

  it("refuses a foreign key under a known kid, and other algorithms without a fetch", async () => {
    const authorizer = createJwtAuthorizer({ algorithm: "RS256", jwksUrl: url });
    const foreign = await sign(two.privateKey, { alg: "RS256", kid: "one" });
    await expect(authorizer.authenticate(present(foreign))).rejects.toMatchObject({ code: "token_invalid" });
    const before = fetches;
    const other = await sign(curve.privateKey, { alg: "ES256", kid: "ec" });
    await expect(authorizer.authenticate(present(other))).rejects.toMatchObject({ code: "token_invalid" });
    expect(fetches).toBe(before);
  });

  it("asks for a kid where several keys would do", async () => {
    answer.body = JSON.stringify({ keys: [jwk(one.publicKey, undefined), jwk(two.publicKey, undefined)] });
    const authorizer = createJwtAuthorizer({ algorithm: "RS256", jwksUrl: url });
    await expect(
      authorizer.authenticate(present(await sign(one.privateKey, { alg: "RS256" }))),
    ).rejects.toMatchObject({ code: "token_invalid", message: expect.stringContaining('"kid"') as string });
  });

  it.each([
    ["an error status", 500, "oops"],
    ["no JSON", 200, "<html>"],
    ["no key set", 200, '{"keys":5}'],
  ])(
    "is unavailable while the URL answers with %s, and works once it does not",
    async (_name, status, body) => {
      const good = answer;
      answer = { status, body };
      const authorizer = createJwtAuthorizer({ algorithm: "RS256", jwksUrl: url });
      const token = await sign(one.privateKey, { alg: "RS256", kid: "one" });
      await expect(authorizer.authenticate(present(token))).rejects.toMatchObject({
        code: "unavailable",
        temporary: true,
      });
      answer = good;
      expect((await authorizer.authenticate(present(token))).userId).toBe("42");
    },
  );

  it("is unavailable while nothing listens", async () => {
    await new Promise((resolve) => server.close(resolve));
    const authorizer = createJwtAuthorizer({ algorithm: "RS256", jwksUrl: url });
    const token = await sign(one.privateKey, { alg: "RS256", kid: "one" });
    await expect(authorizer.authenticate(present(token))).rejects.toMatchObject({ code: "unavailable" });
  });
});
