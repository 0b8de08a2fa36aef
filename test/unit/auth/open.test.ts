import { describe, expect, it } from "vitest";
import { createOpenAuthorizer } from "../../../src/auth/open.js";

const from = { app: "main" };

describe("open authorizer", () => {
  it("makes everyone the one frozen anonymous identity", async () => {
    const open = createOpenAuthorizer();
    expect(open.required).toBe(false);
    expect(Object.isFrozen(open.anonymous)).toBe(true);
    expect(await open.authenticate({ ...from, token: undefined })).toBe(open.anonymous);
    expect(open.anonymous).toMatchObject({ userId: null, expiresAt: undefined });
  });

  it("allows every channel but the server's", () => {
    const { anonymous } = createOpenAuthorizer();
    expect(anonymous?.maySubscribe("room")).toBe(true);
    expect(anonymous?.mayPublish("any:thing/at$all")).toBe(true);
    expect(anonymous?.maySubscribe("#user:42")).toBe(false);
    expect(anonymous?.mayPublish("#user:42")).toBe(false);
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
