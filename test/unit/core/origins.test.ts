import { describe, expect, it } from "vitest";
import { allowsOrigin } from "../../../src/core/origins.js";

describe("an origin", () => {
  it("is any where none is listed", () => {
    expect(allowsOrigin([])("https://anything.example")).toBe(true);
  });

  it("is compared without case, and exactly otherwise", () => {
    const allows = allowsOrigin(["https://App.Example:8443", "null"]);
    for (const origin of ["https://app.example:8443", "HTTPS://APP.EXAMPLE:8443", "null"]) {
      expect(allows(origin), origin).toBe(true);
    }
    for (const origin of [
      "https://app.example",
      "http://app.example:8443",
      "",
      "https://app.example:84430",
    ]) {
      expect(allows(origin), origin).toBe(false);
    }
  });

  it("matches a star by one or more labels of its host", () => {
    const allows = allowsOrigin(["https://*.example.com", "http://*.localhost:3000"]);
    for (const origin of ["https://a.example.com", "https://a.b-c.example.com", "https://A.Example.com"]) {
      expect(allows(origin), origin).toBe(true);
    }
    expect(allows("http://tenant.localhost:3000")).toBe(true);
    for (const origin of [
      "https://example.com",
      "https://.example.com",
      "https://aexample.com",
      "https://a.exampleXcom",
      "https://a.example.com:8443",
      "http://a.example.com",
      "https://a.example.com.evil.example",
      "https://evil.example/.example.com",
      "https://evil.example#.example.com",
      "https://user@evil.example?.example.com",
      "https://a..example.com",
      "null",
    ]) {
      expect(allows(origin), origin).toBe(false);
    }
  });
});
