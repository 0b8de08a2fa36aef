import { describe, expect, it } from "vitest";
import { z } from "zod";
import { createRoutes } from "../../../src/http/routes.js";
import * as schemas from "../../../src/http/schemas.js";
import { fakeOperations, harness, validate, type OpenApi } from "./api-harness.js";

const routes = createRoutes({
  operations: fakeOperations().operations,
  maxContentBytes: 1,
  onError: () => undefined,
  openapi: () => "{}",
});

function operationsOf(document: OpenApi): string[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
}

describe("the OpenAPI document", () => {
  it("is version 3.1, of the package's version", async () => {
    expect(await harness().openapi()).toMatchObject({ openapi: "3.1.0", info: { version: "1.2.3" } });
  });

  it("lists the routes that are served, and no others", async () => {
    const documented = operationsOf(await harness().openapi());
    expect(documented.sort()).toEqual(routes.map(({ method, path }) => `${method} ${path}`).sort());
    const { call } = harness();
    for (const operation of documented) {
      const [method, path] = operation.split(" ") as [string, string];
      const { status } = await call(
        method,
        path.replace(/\{\w+\}/, "x"),
        method === "POST" ? { body: {} } : {},
      );
      expect([404, 405], operation).not.toContain(status);
    }
    for (const path of new Set(documented.map((operation) => operation.split(" ")[1]!))) {
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"]) {
        if (documented.includes(`${method} ${path}`)) continue;
        expect((await call(method, path.replace(/\{\w+\}/, "x"))).status, `${method} ${path}`).toBe(405);
      }
    }
  });

  it("describes bodies by the very schemas that check them", async () => {
    const document = await harness().openapi();
    const expected: Record<string, z.ZodType> = {
      publish: schemas.publication,
      publishMany: schemas.publishMany,
      disconnectUser: schemas.disconnect,
      unsubscribeUser: schemas.unsubscribe,
      permitUser: schemas.permit,
    };
    const found: string[] = [];
    for (const operation of Object.values(document.paths).flatMap((methods) => Object.values(methods))) {
      const reference = operation.requestBody?.content["application/json"]!.schema as
        { $ref: string } | undefined;
      if (reference === undefined) continue;
      found.push(operation.operationId);
      const name = reference.$ref.split("/").at(-1)!;
      const { $schema, ...wanted } = z.toJSONSchema(expected[operation.operationId]!, { io: "input" });
      expect($schema).toBe("https://json-schema.org/draft/2020-12/schema");
      expect(document.components.schemas[name]).toEqual(JSON.parse(JSON.stringify(wanted)));
    }
    expect(found.sort()).toEqual(Object.keys(expected).sort());
  });

  it.each<[unknown, boolean]>([
    [{ channel: "room", content: null }, true],
    [{ channel: "room", contentBase64: "AAA=" }, true],
    [{ channel: "room", content: 1, event: "e", tags: { a: "b" }, exclude: "c" }, true],
    [{ channel: "room", content: 1, messageId: "m".repeat(64) }, true],
    [{ channel: "room", content: 1, messageId: "m".repeat(65) }, false],
    [{ channel: "room", content: 1, messageId: "" }, false],
    [{ channel: "room" }, false],
    [{ channel: "room", content: 1, contentBase64: "" }, false],
    [{ channel: "a b", content: 1 }, false],
    [{ channel: "", content: 1 }, false],
    [{ channel: "room", content: 1, contentBytes: "" }, false],
    [{ channel: "room", contentBase64: "a-_b" }, false],
    [{ channel: "room", content: 1, tags: { a: 1 } }, false],
    [{ channel: "room", content: 1, tags: { ["k".repeat(129)]: "v" } }, false],
    [{ channel: "room", content: 1, event: "e".repeat(201) }, false],
  ])("accepts of publications what the node accepts: %j", async (body, allowed) => {
    const { openapi, call } = harness();
    const schema = { $ref: "#/components/schemas/Publication" };
    expect(validate(await openapi(), schema, body).length === 0).toBe(allowed);
    expect((await call("POST", "/v1/publish", { body })).status === 200).toBe(allowed);
  });

  it("describes parameters, with their defaults and limits", async () => {
    const { paths } = await harness().openapi();
    const parameters = paths["/v1/channels"]!["get"]!.parameters;
    expect(parameters).toMatchObject([
      {
        name: "prefix",
        in: "query",
        required: false,
        schema: { type: "string", maxLength: 255, default: "" },
      },
      {
        name: "limit",
        in: "query",
        required: false,
        schema: { type: "integer", minimum: 1, maximum: 1000, default: 100 },
      },
    ]);
    for (const [path, methods] of Object.entries(paths)) {
      const wanted = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      for (const operation of Object.values(methods)) {
        const given = operation.parameters.filter((parameter) => parameter.in === "path");
        expect(given.map(({ name, required }) => [name, required])).toEqual(
          wanted.map((name) => [name, true]),
        );
      }
    }
  });

  it("says where a key is needed", async () => {
    const open = async (options: Parameters<typeof harness>[0]) => {
      const document = await harness(options).openapi();
      return operationsOf(document).filter((operation) => {
        const [method, path] = operation.split(" ") as [string, string];
        return document.paths[path]![method.toLowerCase()]!.security?.length === 0;
      });
    };
    const health = ["GET /healthz", "GET /readyz", "OPTIONS /", "GET /"];
    expect(await open({})).toEqual(health);
    expect(await open({ metricsPublic: true })).toEqual([...health, "GET /metrics"]);
    expect(await open({ apiKeys: [] })).toHaveLength(routes.length);
  });

  it("names every operation once", async () => {
    const { paths } = await harness().openapi();
    const ids = Object.values(paths).flatMap((methods) =>
      Object.values(methods).map((one) => one.operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("refers only to schemas that it holds, and all of them compile", async () => {
    const document = await harness().openapi();
    const names = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(
      (match) => match[1]!,
    );
    expect([...new Set(names)].sort()).toEqual(Object.keys(document.components.schemas).sort());
    for (const name of names) validate(document, { $ref: `#/components/schemas/${name}` }, {});
  });
});
