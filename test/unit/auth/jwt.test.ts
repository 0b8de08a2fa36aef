import { createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import { inspect } from "node:util";
import fc from "fast-check";
import { SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { endOf } from "../../../src/core/authorizer.js";
import { createJwtAuthorizer, type JwtAuthorizerOptions } from "../../../src/auth/jwt.js";

const SECRET = "a secret of more than thirty-two bytes";
const NOW_SECONDS = 1_700_000_000;
const hour = NOW_SECONDS + 3600;
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const rsaPem = rsa.publicKey.export({ type: "spki", format: "pem" }).toString();
const ecPem = ec.publicKey.export({ type: "spki", format: "pem" }).toString();

function hs256(options: Partial<JwtAuthorizerOptions> = {}) {
  return createJwtAuthorizer({
    algorithm: "HS256",
    secret: SECRET,
    now: () => NOW_SECONDS * 1000,
    ...options,
  });
}

function sign(claims: object, alg = "HS256", key: KeyObject | Uint8Array = Buffer.from(SECRET)) {
  return new SignJWT({ ...claims }).setProtectedHeader({ alg }).sign(key);
}

/** By hand, for what jose would not sign. */
function forge(header: object, claims: string, secret?: string): string {
  const encode = (text: string) => Buffer.from(text).toString("base64url");
  const input = `${encode(JSON.stringify(header))}.${encode(claims)}`;
  return `${input}.${secret === undefined ? "" : createHmac("sha256", secret).update(input).digest("base64url")}`;
}

const present = (token: string | undefined) => ({ app: "main", token });

async function refused(token: string, options: Partial<JwtAuthorizerOptions> = {}) {
  const outcome = await hs256(options)
    .authenticate(present(token))
    .then(
      () => "accepted",
      (error: unknown) => error as Error & { code: string },
    );
  if (outcome === "accepted") throw new Error("the token was accepted");
  return outcome as Error & { code: string };
}

describe("JWT authorizer", () => {
  it("requires a token and has no anonymous identity", async () => {
    expect(hs256()).toMatchObject({ required: true, anonymous: undefined });
    for (const token of [undefined, ""]) {
      await expect(hs256().authenticate(present(token))).rejects.toMatchObject({ code: "unauthorized" });
    }
  });

  it("gives the user, the expiry and the rights that the claims name", async () => {
    const identity = await hs256().authenticate(
      present(await sign({ sub: "42", exp: hour, channels: ["room", "chat:*"], publish: ["room"] })),
    );
    expect(identity).toMatchObject({ userId: "42", expiresAt: hour });
    expect(["room", "chat:1", "news"].map((name) => identity.maySubscribe(name))).toEqual([
      true,
      true,
      false,
    ]);
    expect(["room", "chat:1"].map((name) => identity.mayPublish(name))).toEqual([true, false]);
  });

  it("allows nothing where a claim is absent", async () => {
    const identity = await hs256().authenticate(present(await sign({ sub: "42", exp: hour })));
    expect([identity.maySubscribe("room"), identity.mayPublish("room")]).toEqual([false, false]);
  });

  it.each(["*", "private-*", "private-a"])(
    "covers a guarded channel where a claim does: %s",
    async (pattern) => {
      const claims = { sub: "42", exp: hour, channels: [pattern], publish: ["private-a", "room"] };
      const identity = await hs256().authenticate(present(await sign(claims)));
      expect([identity.maySubscribe("private-a"), identity.mayPublish("private-a")]).toEqual([true, true]);
      expect([identity.maySubscribe("presence-a"), identity.mayPublish("presence-a")]).toEqual([
        pattern === "*",
        false,
      ]);
    },
  );

  it("permit replaces rights and keeps user and expiry", async () => {
    const authorizer = hs256();
    const before = await authorizer.authenticate(
      present(await sign({ sub: "42", exp: hour, channels: ["a"], publish: ["a"] })),
    );
    const after = authorizer.permit(before, { channels: ["b*"] });
    expect(after).toMatchObject({ userId: "42", expiresAt: hour });
    expect([after.maySubscribe("a"), after.maySubscribe("bc"), after.mayPublish("a")]).toEqual([
      false,
      true,
      true,
    ]);
    expect(before.maySubscribe("a")).toBe(true);
  });

  it("gives as info what the claim says, as compact JSON, and keeps it when rights are replaced", async () => {
    const authorizer = hs256();
    for (const [claim, info] of [
      ['{ "name" : "Ann\\n", "at": [1, 2.50] }', '{"name":"Ann\\n","at":[1,2.5]}'],
      ['{"__proto__":{"a":1},"a":1,"a":2}', '{"__proto__":{"a":1},"a":2}'],
      ['"\\ud800 \u2028"', '"\\ud800 \u2028"'],
      ["[12345678901234567890, 1e400]", "[12345678901234567000,null]"],
      ["0", "0"],
      ["false", "false"],
      ['""', '""'],
      ["null", undefined],
      [JSON.stringify("x".repeat(1_022)), JSON.stringify("x".repeat(1_022))],
    ] as const) {
      const token = forge({ alg: "HS256" }, `{"sub":"42","exp":${hour},"info":${claim}}`, SECRET);
      const identity = await authorizer.authenticate(present(token));
      expect(identity.info).toBe(info);
      expect(authorizer.permit(identity, { channels: ["b*"] }).info).toBe(info);
    }
    expect(
      (await authorizer.authenticate(present(await sign({ sub: "42", exp: hour })))).info,
    ).toBeUndefined();
  });

  it.each([
    [JSON.stringify("x".repeat(1_023)), "has 1025 bytes as compact JSON, at most 1024 are allowed"],
    [JSON.stringify("\u00fc".repeat(512)), "has 1026 bytes as compact JSON, at most 1024 are allowed"],
    ["[".repeat(65) + "]".repeat(65), "nest deeper than 64 levels"],
    ["[".repeat(2_900) + "]".repeat(2_900), "has 5800 bytes as compact JSON, at most 1024 are allowed"],
  ])("refuses info that is too much: %.30s", async (claim, message) => {
    const error = await refused(
      forge({ alg: "HS256" }, `{"sub":"42","exp":${hour},"info":${claim}}`, SECRET),
    );
    expect(error.code).toBe("token_invalid");
    expect(error.message).toMatch(/^"info" claim /);
    expect(error.message).toContain(message);
  });

  it("accepts RS256 and ES256 by PEM and by JWK", async () => {
    const claims = { sub: "42", exp: hour };
    for (const [algorithm, pem, pair] of [
      ["RS256", rsaPem, rsa],
      ["ES256", ecPem, ec],
    ] as const) {
      const token = await sign(claims, algorithm, pair.privateKey);
      const jwk = pair.publicKey.export({ format: "jwk" });
      for (const publicKey of [pem, jwk, JSON.stringify(jwk)]) {
        const authorizer = createJwtAuthorizer({ algorithm, publicKey, now: () => NOW_SECONDS * 1000 });
        expect((await authorizer.authenticate(present(token))).userId).toBe("42");
      }
    }
  });

  it("refuses alg none, whatever its spelling", async () => {
    const claims = JSON.stringify({ sub: "42", exp: hour });
    for (const alg of ["none", "None", "NONE", "", undefined]) {
      expect(await refused(forge({ alg }, claims))).toMatchObject({ code: "token_invalid" });
      expect(await refused(forge({ alg }, claims, SECRET))).toMatchObject({ code: "token_invalid" });
    }
  });

  it("refuses a token that was signed by HMAC with the RSA public key as its secret", async () => {
    const token = forge({ alg: "HS256" }, JSON.stringify({ sub: "42", exp: hour }), rsaPem);
    const authorizer = createJwtAuthorizer({ algorithm: "RS256", publicKey: rsaPem });
    await expect(authorizer.authenticate(present(token))).rejects.toMatchObject({
      code: "token_invalid",
      message: "token is not signed with RS256, the only algorithm that this node accepts",
    });
  });

  it("refuses every algorithm but the one it is pinned to", async () => {
    for (const alg of ["HS384", "HS512"]) {
      expect(
        await refused(await sign({ sub: "42", exp: hour }, alg, Buffer.alloc(64, SECRET))),
      ).toMatchObject({
        code: "token_invalid",
      });
    }
    expect(await refused(await sign({ sub: "42", exp: hour }, "RS256", rsa.privateKey))).toMatchObject({
      code: "token_invalid",
    });
  });

  it("refuses another key's signature and a changed payload", async () => {
    const other = await sign({ sub: "42", exp: hour }, "HS256", Buffer.from(SECRET.toUpperCase()));
    expect((await refused(other)).message).toContain("signature is wrong");
    const [header, , signature] = (await sign({ sub: "42", exp: hour })).split(".");
    const payload = Buffer.from(JSON.stringify({ sub: "1", exp: hour })).toString("base64url");
    expect((await refused(`${header}.${payload}.${signature}`)).message).toContain("signature is wrong");
  });

  it("tells an expired token from an invalid one", async () => {
    expect(await refused(await sign({ sub: "42", exp: NOW_SECONDS }))).toMatchObject({
      code: "token_expired",
      message: "token expired at 2023-11-14T22:13:20.000Z: get a fresh one",
    });
    expect(await refused(forge({ alg: "HS256" }, '{"sub":"1","exp":-1e300}', SECRET))).toMatchObject({
      code: "token_expired",
    });
  });

  it("stretches exp and nbf by the tolerance, and a connection's life with them", async () => {
    const late = await sign({ sub: "42", exp: NOW_SECONDS - 5, nbf: NOW_SECONDS - 60 });
    const authorizer = hs256({ clockToleranceSeconds: 10 });
    const identity = await authorizer.authenticate(present(late));
    expect(identity.expiresAt).toBe(NOW_SECONDS - 5);
    expect(endOf(authorizer, identity)).toBe(NOW_SECONDS + 5);
    const early = await sign({ sub: "42", exp: hour, nbf: NOW_SECONDS + 5 });
    await expect(hs256({ clockToleranceSeconds: 5 }).authenticate(present(early))).resolves.toBeDefined();
  });

  it("refuses a token before its time for a while only, and says how long", async () => {
    const early = await sign({ sub: "42", exp: hour, nbf: NOW_SECONDS + 5 });
    expect(await refused(early, { clockToleranceSeconds: 2 })).toMatchObject({
      code: "token_not_active",
      temporary: true,
      retryAfterMs: 3000,
      message:
        'token is not valid before 2023-11-14T22:13:25.000Z ("nbf" claim): compare the clocks of its issuer and this node',
    });
  });

  it("takes a token that was issued by a clock ahead of its own", async () => {
    const token = await sign({ sub: "42", exp: hour, iat: NOW_SECONDS + 100 });
    await expect(hs256().authenticate(present(token))).resolves.toMatchObject({ userId: "42" });
  });

  it.each(["exp", "nbf", "iat"])(
    "refuses %s in milliseconds and says what it would be in seconds",
    async (claim) => {
      const token = await sign({ sub: "42", exp: hour, [claim]: hour * 1000 + 1 });
      expect(await refused(token)).toMatchObject({
        code: "token_invalid",
        message: `"${claim}" claim ${hour}001 is not a time in unix seconds: for milliseconds, give ${hour}`,
      });
    },
  );

  it("asks for exp unless told not to", async () => {
    const token = await sign({ sub: "42" });
    expect((await refused(token)).message).toBe('token has no "exp" claim, which this node requires');
    const identity = await hs256({ allowNoExpiry: true }).authenticate(present(token));
    expect(identity.expiresAt).toBeUndefined();
  });

  it("refuses an exp that is never over", async () => {
    const error = await refused(forge({ alg: "HS256" }, '{"sub":"42","exp":1e999}', SECRET));
    expect(error).toMatchObject({
      code: "token_invalid",
      message: '"exp" claim Infinity is not a time in unix seconds',
    });
  });

  it("checks audience and issuer where they are configured", async () => {
    const options = { audience: ["starling", "edge"], issuer: "https://id.example" };
    const good = { sub: "42", exp: hour, aud: ["other", "edge"], iss: "https://id.example" };
    await expect(hs256(options).authenticate(present(await sign(good)))).resolves.toBeDefined();
    expect((await refused(await sign({ ...good, aud: "web" }), options)).message).toBe(
      '"aud" claim "web" is not accepted by this node',
    );
    expect((await refused(await sign({ ...good, iss: "https://evil.example" }), options)).message).toContain(
      '"iss" claim "https://evil.example"',
    );
    expect((await refused(await sign({ sub: "42", exp: hour, iss: good.iss }), options)).message).toBe(
      'token has no "aud" claim, which this node requires',
    );
  });

  it.each([
    [{}, 'token has no "sub" claim, which must name the user'],
    [{ sub: 42 }, '"sub" claim must be a string, not 42'],
    [{ sub: "" }, '"sub" claim is empty'],
    [{ sub: "x".repeat(129) }, '"sub" claim has 129 characters, at most 128 are allowed'],
    [{ sub: "a\nb" }, '"sub" claim has a control character at 1'],
    [{ sub: "a\u2028" }, '"sub" claim has a control character at 1'],
    [{ sub: "ab\ud800" }, '"sub" claim has a lone surrogate at 2'],
    [{ sub: "\udc00😀" }, '"sub" claim has a lone surrogate at 0'],
    [{ sub: "1", channels: "room" }, '"channels" claim must be an array of channel patterns, not "room"'],
    [{ sub: "1", channels: null }, '"channels" claim must be an array of channel patterns, not null'],
    [
      { sub: "1", channels: { 0: "room" } },
      '"channels" claim must be an array of channel patterns, not an object',
    ],
    [{ sub: "1", publish: ["a", 5] }, '"publish" claim must hold strings, item 1 is 5'],
    [
      { sub: "1", publish: ["#user:1"] },
      `"publish" claim item 0 is "#user:1": channels that begin with # are reserved for the server`,
    ],
    [{ sub: "1", channels: ["a b"] }, '"channels" claim item 0: channel "a b" has " " at 1'],
    [{ sub: "1", iat: "then" }, '"iat" claim must be a number, not "then"'],
    [{ sub: "1", nbf: "soon" }, '"nbf" claim must be a number, not "soon"'],
  ])("refuses the claims %j", async (claims, message) => {
    const token = forge({ alg: "HS256" }, JSON.stringify({ exp: hour, ...claims }), SECRET);
    const error = await refused(token);
    expect(error.code).toBe("token_invalid");
    expect(error.message).toContain(message);
  });

  it("answers any text with token_invalid", async () => {
    const authorizer = hs256();
    const part = fc.string({ unit: "binary", maxLength: 40 });
    const text = fc.oneof(
      part,
      fc.tuple(part, part, part).map((parts) => parts.join(".")),
      fc.tuple(fc.json(), fc.json()).map(([h, p]) => forge({ alg: "HS256", x: h }, p, SECRET)),
      fc.json().map((json) => forge(JSON.parse(json) as object, "{}")),
    );
    await fc.assert(
      fc.asyncProperty(text, async (token) => {
        fc.pre(token !== "");
        await expect(authorizer.authenticate(present(token))).rejects.toMatchObject({
          code: "token_invalid",
        });
      }),
      { numRuns: 500 },
    );
  });

  it("keeps tokens out of its errors, causes included", async () => {
    const expired = await sign({ sub: "42", exp: 1 });
    const claims = await sign({ sub: 42, exp: hour });
    const long = "x".repeat(8193);
    for (const token of [expired, claims, `${claims}x`, long, "not.a.token"]) {
      expect(inspect(await refused(token), { depth: 9, showHidden: true })).not.toContain(token);
    }
  });

  it("refuses a token of more than 8192 characters before it looks at it", async () => {
    expect((await refused("x".repeat(8193))).message).toBe(
      "token has 8193 characters, at most 8192 are allowed",
    );
  });
});

describe("JWT authorizer options", () => {
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey;
  const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey;
  const pem = (key: KeyObject) => key.export({ type: "spki", format: "pem" }).toString();
  const privatePem = rsa.privateKey.export({ type: "pkcs8", format: "pem" }).toString();

  it.each<[string, JwtAuthorizerOptions, string]>([
    ["a short secret", { algorithm: "HS256", secret: "short" }, "the HS256 secret has 5 bytes, at least 32"],
    ["no secret", { algorithm: "HS256" }, "the HS256 secret has 0 bytes"],
    ["HS256 with a key", { algorithm: "HS256", secret: SECRET, publicKey: rsaPem }, "HS256 takes a secret"],
    ["RS256 with a secret", { algorithm: "RS256", secret: SECRET }, "RS256 takes a public key"],
    [
      "two sources",
      { algorithm: "RS256", publicKey: rsaPem, jwksUrl: "https://x.example" },
      "give one of them",
    ],
    ["no source", { algorithm: "ES256" }, "give one of them"],
    ["a weak key", { algorithm: "RS256", publicKey: pem(weak) }, "the RSA key has 1024 bits, at least 2048"],
    ["a key of another kind", { algorithm: "RS256", publicKey: ecPem }, "RS256 needs an RSA public key"],
    ["another curve", { algorithm: "ES256", publicKey: pem(p384) }, "curve P-256, got ec on secp384r1"],
    ["a private key", { algorithm: "RS256", publicKey: privatePem }, "this is a private key"],
    [
      "a private JWK",
      { algorithm: "ES256", publicKey: ec.privateKey.export({ format: "jwk" }) },
      "this is a private key",
    ],
    ["garbage", { algorithm: "RS256", publicKey: "garbage" }, "the public key cannot be read"],
    ["a torn JWK", { algorithm: "RS256", publicKey: '{"kty":' }, "starts like a JWK and is not JSON"],
    ["a bad URL", { algorithm: "RS256", jwksUrl: "file:///etc/keys" }, "must be an http or https URL"],
    [
      "an empty audience",
      { algorithm: "HS256", secret: SECRET, audience: "" },
      "audience has an empty value",
    ],
    ["no issuers", { algorithm: "HS256", secret: SECRET, issuer: [] }, "issuer has an empty value"],
    [
      "a negative tolerance",
      { algorithm: "HS256", secret: SECRET, clockToleranceSeconds: -1 },
      "must be 0 or more, not -1",
    ],
  ])("refuses %s", (_name, options, message) => {
    expect(() => createJwtAuthorizer(options)).toThrow(message);
  });

  it("does not show the secret it refuses", () => {
    expect(() => createJwtAuthorizer({ algorithm: "HS256", secret: "hunter2" })).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining("hunter2") as string }) as Error,
    );
  });
});
