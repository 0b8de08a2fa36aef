import { expect, it } from "vitest";
import { hideSecrets, withoutSecrets } from "../../../src/client/url.js";

it.each([
  ["ws://a.example/", "ws://a.example/"],
  ["wss://ann:pass@a.example:8000/x", "wss://a.example:8000/x"],
  ["wss://ann:p@ss@a.example/x@y?mail=b@c", "wss://a.example/x@y?mail=b@c"],
  ["//ann:pass@a.example/", "//a.example/"],
  ["ann:pass@a.example/", "ann:a.example/"],
  ["ws://a.example/x@y", "ws://a.example/x@y"],
  ["ws://a.example/?token=abc.def&app=shop", "ws://a.example/?token=...&app=shop"],
  ["ws://a.example/?app=shop&TOKEN=abc", "ws://a.example/?app=shop&TOKEN=..."],
  [
    "ws://a.example/?access_token=a&password=b&secret=c&key=d",
    "ws://a.example/?access_token=...&password=...&secret=...&key=d",
  ],
  ["ws://a.example/?tokens=3&next=token&app=a", "ws://a.example/?tokens=3&next=token&app=a"],
])("the URL %s is shown, and asked, as %s", (url, shown) => {
  expect(withoutSecrets(url)).toBe(shown);
  expect(hideSecrets(`not ${url}, nor ${url}`, url)).toBe(`not ${shown}, nor ${shown}`);
});
