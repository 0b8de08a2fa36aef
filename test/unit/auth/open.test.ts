import { describe, expect, it } from "vitest";
import { Encoding } from "../../../src/encoding/payload.js";
import type { Client, Identity } from "../../../src/core/authorizer.js";
import { createClosedAuthorizer, createOpenAuthorizer } from "../../../src/auth/open.js";

const from = { app: "main" };
const client = (identity: Identity | undefined): Client => ({
  ...{ id: "n.1", userId: identity?.userId ?? null, identity },
  app: { id: "main" },
});

describe("open authorizer", () => {
  it("makes everyone the one frozen anonymous identity", async () => {
    const open = createOpenAuthorizer();
    expect(open.required).toBe(false);
    expect(Object.isFrozen(open.anonymous)).toBe(true);
    expect(await open.authenticate({ ...from, token: undefined })).toBe(open.anonymous);
    expect(open.anonymous).toMatchObject({ userId: null, expiresAt: undefined });
  });

  it("allows every channel but the server's and those that are guarded by their names", () => {
    const { anonymous } = createOpenAuthorizer();
    for (const channel of [
      "private-a",
      "presence-a",
      "private-encrypted-a",
      "private-",
      "presence-cache-a",
    ]) {
      expect(anonymous?.maySubscribe(channel), channel).toBe(false);
      expect(anonymous?.mayPublish(channel), channel).toBe(false);
    }
    for (const channel of ["private", "presence", "privat-a", "a-private-b", "cache-a", "$private"]) {
      expect(anonymous?.maySubscribe(channel), channel).toBe(true);
      expect(anonymous?.mayPublish(channel), channel).toBe(true);
    }
    expect(anonymous?.maySubscribe("room")).toBe(true);
    expect(anonymous?.mayPublish("any:thing/at$all")).toBe(true);
    expect(anonymous?.maySubscribe("#user:42")).toBe(false);
    expect(anonymous?.mayPublish("#user:42")).toBe(false);
  });

  it("says why a guarded channel is refused, and what it needs", () => {
    const open = createOpenAuthorizer();
    const asked = client(open.anonymous);
    const publication = {
      content: { encoding: Encoding.json, bytes: Buffer.of() },
      event: undefined,
      tags: undefined,
    };
    expect(() => open.subscribe(asked, "private-a", undefined)).toThrow(
      'channel "private-a" is not open to anonymous clients, as its name begins with private- or presence-: it needs a token whose "channels" claim covers it, or a signature',
    );
    expect(() => open.publish(asked, "presence-a", undefined, publication)).toThrow(
      'it needs a token whose "publish" claim covers it, or a signature',
    );
    expect(open.subscribe(asked, "room", undefined)).toMatchObject({ byIdentity: true });
  });

  it("permit covers guarded channels, as it is given on purpose", () => {
    const open = createOpenAuthorizer();
    const all = open.permit(open.anonymous!, { channels: ["*"] });
    expect([
      all.maySubscribe("private-a"),
      all.maySubscribe("#user:42"),
      all.mayPublish("private-a"),
    ]).toEqual([true, false, false]);
    const some = open.permit(open.anonymous!, { publish: ["private-*"] });
    expect([
      some.mayPublish("private-a"),
      some.mayPublish("presence-a"),
      some.maySubscribe("private-a"),
    ]).toEqual([true, false, false]);
  });

  it("refuses a token, as nothing could check it", async () => {
    await expect(createOpenAuthorizer().authenticate({ ...from, token: "x.y.z" })).rejects.toMatchObject({
      code: "token_invalid",
      message: "this node has no key configured: connect without a token",
    });
  });

  it("permit replaces only the rights that are given, and leaves the anonymous identity alone", () => {
    const open = createOpenAuthorizer();
    const limited = open.permit(open.anonymous!, { publish: ["news"] });
    expect([limited.mayPublish("news"), limited.mayPublish("room"), limited.maySubscribe("room")]).toEqual([
      true,
      false,
      true,
    ]);
    expect(open.anonymous?.mayPublish("room")).toBe(true);
  });

  it("permit works on an identity that another authorizer made", () => {
    const foreign = { userId: "7", expiresAt: 99, maySubscribe: () => true, mayPublish: () => false };
    const permitted = createOpenAuthorizer().permit(foreign, { channels: [] });
    expect(permitted).toMatchObject({ userId: "7", expiresAt: 99 });
    expect([permitted.maySubscribe("a"), permitted.mayPublish("a")]).toEqual([false, false]);
  });
});

describe("closed authorizer", () => {
  it("lets nobody in, with a token or without, and says what to set", async () => {
    const closed = createClosedAuthorizer();
    expect([closed.required, closed.anonymous]).toEqual([true, undefined]);
    const message = expect.stringMatching(
      /no key to check them with, and is not open\. Set its jwtSecret/,
    ) as string;
    expect(closed.closed).toEqual(message);
    await expect(closed.authenticate({ ...from, token: undefined })).rejects.toMatchObject({
      code: "unauthorized",
      message,
    });
    await expect(closed.authenticate({ ...from, token: "x.y.z" })).rejects.toMatchObject({
      code: "token_invalid",
      message,
    });
  });
});
