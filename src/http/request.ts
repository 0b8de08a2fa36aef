import { isUtf8 } from "node:buffer";
import type { HttpRequest } from "../core/transport.js";
import { StarlingError, quote } from "../core/errors.js";
import { check, type ObjectSchema } from "./check.js";
import { ApiError } from "./problem.js";

/**
 * Checks by the head alone that the body, if one is announced, can be read as JSON.
 * @throws ApiError unsupported_media_type
 */
export function checkMedia(request: HttpRequest): void {
  if (!request.hasBody) return;
  const coding = request.header("content-encoding");
  if (coding !== undefined && !/^(identity)?$/i.test(coding)) {
    throw new ApiError(
      "unsupported_media_type",
      `content-encoding ${quote(coding)} is not supported: send the body uncompressed`,
      { "accept-encoding": "identity" },
    );
  }
  const type = request.header("content-type");
  // Browsers send text/plain and forms to anywhere unasked, JSON only where they were allowed to.
  if (!/^application\/json *(;|$)/i.test(type ?? "")) {
    const found = type === undefined ? "it is missing" : `it is ${quote(type)}`;
    throw new ApiError("unsupported_media_type", `content-type must be application/json, ${found}`);
  }
}

/**
 * The body as JSON.parse makes it.
 * @param optional no body counts as `{}`
 * @throws StarlingError bad_request
 */
export function decodeBody(body: Uint8Array, optional: boolean): unknown {
  if (body.length === 0) {
    if (optional) return {};
    throw new StarlingError("bad_request", "the body is empty: a JSON object is expected");
  }
  if (!isUtf8(body)) throw new StarlingError("bad_request", "the body is not UTF-8");
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new StarlingError("bad_request", `the body is not JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** @throws StarlingError bad_request */
export function readQuery(schema: ObjectSchema | undefined, query: string): unknown {
  if (query === "" && schema === undefined) return undefined;
  const given: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of new URLSearchParams(query)) {
    if (name in given)
      throw new StarlingError("bad_request", `query parameter ${quote(name)} is given twice`);
    given[name] = value;
  }
  if (schema === undefined) {
    const name = Object.keys(given)[0];
    if (name === undefined) return undefined;
    throw new StarlingError("bad_request", `unknown query parameter ${quote(name)}: none is allowed here`);
  }
  for (const name of Object.keys(given)) {
    const value = given[name] as string;
    // Up to 15 digits are exact in a number.
    if (takes(schema, name, 1) && /^-?\d{1,15}$/.test(value)) given[name] = Number(value);
    else if (takes(schema, name, true) && /^(true|false)$/.test(value)) given[name] = value === "true";
  }
  return check(schema, { ...given }, "query");
}

/** Whether the schema's parameter is a number, or true or false, as the example is: a query has only text. */
function takes(schema: ObjectSchema, name: string, example: number | boolean): boolean {
  if (!Object.hasOwn(schema.shape, name)) return false;
  const field = schema.shape[name]!;
  return field.safeParse(example).success && !field.safeParse("").success;
}
