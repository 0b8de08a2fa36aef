import { expect, it } from "vitest";
import type { HttpRequest } from "../../../src/core/transport.js";
import { createSite } from "../../../src/http/site.js";

const get = (path: string, headers: Record<string, string> = {}): HttpRequest =>
  ({
    ...{ method: "GET", path, hasBody: false },
    header: (name) => headers[name],
  }) as Partial<HttpRequest> as HttpRequest;

it("says where to look for what is not here, and why a page is not", async () => {
  const options = {
    files: {},
    absent: { "/page": "the page is off." },
    explain: () => undefined,
    pusherPath: "/push",
  };
  const site = createSite({ ...options, apiPort: 8001 });
  expect(await site(get("/metrics"))).toMatchObject({
    status: 404,
    body:
      "Not found: this port serves WebSockets, those of Pusher's clients at /push/app/KEY, and Pusher's HTTP API below " +
      "/push/apps/ID. The server API, /healthz and /metrics are on port 8001 (apiPort).\n",
  });
  expect(await site(get("/page"))).toMatchObject({ status: 404, body: "Not found: the page is off.\n" });
  // Any free one, which is not known yet.
  expect(await createSite({ ...options, apiPort: 0 })(get("/"))).toMatchObject({
    body: expect.stringMatching(/are on apiPort\.\n$/) as string,
  });
});

it.each([
  [{ origin: "https://a.example", referer: "https://b.example/" }, "https://a.example"],
  [{ origin: "null", referer: "https://b.example/" }, "null"],
  [{ referer: "http://c.example:8000/page?of=it" }, "http://c.example:8000"],
  [{ referer: "about:blank" }, undefined],
  [{}, undefined],
])("asks why for the page that a request for text comes from: %s", async (headers, origin) => {
  const asked: unknown[] = [];
  const explain = (_: HttpRequest, from: string | undefined) => void asked.push(from);
  const site = createSite({ files: {}, absent: {}, apiPort: 8001, pusherPath: "", explain });
  expect(await site(get("/", { accept: "text/plain", ...headers }))).toMatchObject({ status: 426 });
  expect(asked).toEqual([origin]);
});
