import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ApiError } from "../../../../src/http/problem.js";
import { readQuery } from "../../../../src/http/pusher/query.js";
import { checkBody, checkHead, stringToSign } from "../../../../src/http/pusher/request-auth.js";
import { sign } from "../../../../src/protocols/pusher/signature.js";

/** The worked example of Pusher's reference, "Generating authentication signatures". */
const APP = { id: "3", keys: [{ key: "278d425bdf160c739803", secret: "7ad3773142a6692b25b8" }] };
const BODY = Buffer.from('{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}');
const AT_SECONDS = 1353088179;
const QUERY =
  "body_md5=ec365a775a4cd0599faeb73354201b6f&auth_version=1.0&auth_key=278d425bdf160c739803" +
  `&auth_timestamp=${AT_SECONDS}` +
  "&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";

interface Asked {
  readonly query?: string;
  readonly method?: string;
  readonly paths?: readonly string[];
  readonly atSeconds?: number;
}

function check({
  query = QUERY,
  method = "POST",
  paths = ["/apps/3/events"],
  atSeconds = AT_SECONDS,
}: Asked) {
  checkHead(APP, { method, paths, query: readQuery(query) }, atSeconds * 1000);
}

function refusal(asked: Asked): string {
  try {
    check(asked);
  } catch (error) {
    expect(error).toBeInstanceOf(ApiError);
    expect((error as ApiError).code).toBe("unauthorized");
    return (error as ApiError).message;
  }
  throw new Error("it was taken");
}

/** Signed as the SDKs do: values as they are, whatever is done to them on the way. */
function signed(parameters: Record<string, string>, method = "GET", path = "/apps/3/channels"): string {
  const query = new Map(
    Object.entries({
      auth_key: APP.keys[0]!.key,
      auth_timestamp: String(AT_SECONDS),
      auth_version: "1.0",
      ...parameters,
    }),
  );
  return sign(APP.keys[0]!.secret, stringToSign(method, path, query));
}
const auth = (signature: string): string =>
  `auth_key=${APP.keys[0]!.key}&auth_timestamp=${AT_SECONDS}&auth_version=1.0&auth_signature=${signature}`;

describe("the signature of a request", () => {
  it("is that of Pusher's worked example", () => {
    check({});
    checkBody(readQuery(QUERY), BODY);
  });

  it("is of the method, the path, and every parameter", () => {
    for (const asked of [
      { method: "GET" },
      { paths: ["/apps/4/events"] },
      { paths: ["/apps/3/batch_events"] },
      { query: `${QUERY}&info=user_count` },
      { query: QUERY.replace("ec365a", "ec365b") },
      { query: QUERY.replace("da454824", "da454825") },
    ]) {
      expect(refusal(asked)).toMatch(/^Invalid signature/);
    }
  });

  it("that is wrong is told what should have been signed, never the secret", () => {
    const message = refusal({ query: QUERY.replace("da454824", "zz") });
    expect(message).toContain(
      'HmacSHA256Hex("POST\\n/apps/3/events\\nauth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f"',
    );
    expect(message).not.toContain(APP.keys[0]!.secret);
  });

  it("is lower-case hex of 32 bytes, and nothing else", () => {
    const signature = QUERY.slice(-64);
    const others = [
      signature.toUpperCase(),
      signature.slice(0, -1),
      `${signature}0`,
      "%C3%BC".repeat(32),
      "%C3%BC".repeat(64),
    ];
    for (const other of others) {
      expect(refusal({ query: QUERY.replace(signature, other) })).toMatch(/^Invalid signature/);
    }
  });

  it("is good for 600 seconds before and after", () => {
    for (const atSeconds of [AT_SECONDS - 600, AT_SECONDS + 600]) check({ atSeconds });
    for (const atSeconds of [AT_SECONDS - 601, AT_SECONDS + 601]) {
      expect(refusal({ atSeconds })).toMatch(
        /^Timestamp expired: auth_timestamp 1353088179 is not within 600 s/,
      );
    }
    expect(refusal({ query: QUERY.replace(String(AT_SECONDS), "now") })).toContain('auth_timestamp is "now"');
  });

  it("needs each of its parameters, and version 1.0", () => {
    for (const name of ["auth_key", "auth_timestamp", "auth_version", "auth_signature"]) {
      expect(refusal({ query: QUERY.replace(`${name}=`, `other_${name}=`) })).toContain(
        `parameter ${name} is missing`,
      );
    }
    expect(refusal({ query: QUERY.replace("version=1.0", "version=2.0") })).toContain(
      'auth_version is "2.0"',
    );
    expect(refusal({ query: QUERY.replace("auth_key=278", "auth_key=279") })).toContain(
      "is not a key of app",
    );
  });

  it("is of any path that the client may have seen", () => {
    check({ paths: ["/pusher/apps/3/events", "/apps/3/events"] });
  });

  it("is of values before they are escaped, names in lower case, and arrays joined by commas", () => {
    const path = ["/apps/3/channels"];
    const take = (parameters: Record<string, string>, written: string): void =>
      check({ method: "GET", paths: path, query: `${written}&${auth(signed(parameters))}` });
    take({ filter_by_prefix: "a b=ü" }, "filter_by_prefix=a+b%3D%C3%BC");
    take({ filter_by_prefix: "a b" }, "filter_by_prefix=a%20b");
    take({ filter_by_prefix: "a" }, "Filter_By_Prefix=a");
    take({ info: "user_count,subscription_count" }, "info=user_count,subscription_count");
    take({ info: "user_count,subscription_count" }, "info%5B0%5D=user_count&info%5B1%5D=subscription_count");
    take({ info: "user_count,subscription_count" }, "info[]=user_count&info[]=subscription_count");
  });
});

describe("a query", () => {
  it("says the same whether it is escaped or not", () => {
    const plain = (characters: string) => fc.string({ unit: fc.constantFrom(...characters), maxLength: 4 });
    const pairs = fc.array(fc.tuple(plain("ab_1"), fc.option(plain("ab=.,-"), { nil: undefined })));
    const escaped = (text: string): string =>
      text.replace(/./g, (each) => `%${each.charCodeAt(0).toString(16)}`);
    fc.assert(
      fc.property(pairs, (given) => {
        const written = (write: (text: string) => string): string =>
          given
            .map(([name, value]) => write(name) + (value === undefined ? "" : `=${write(value)}`))
            .join("&");
        expect([...readQuery(written((text) => text))]).toEqual([...readQuery(written(escaped))]);
      }),
    );
  });
});

describe("the digest of a body", () => {
  const md5 = (given?: string) => readQuery(given === undefined ? "" : `body_md5=${given}`);

  it("is needed where there is a body", () => {
    checkBody(md5(), Buffer.alloc(0));
    expect(() => checkBody(md5(), BODY)).toThrow("body_md5 is missing");
  });

  it("is held to the body, to one that is empty too", () => {
    checkBody(md5("d41d8cd98f00b204e9800998ecf8427e"), Buffer.alloc(0));
    checkBody(md5("EC365A775A4CD0599FAEB73354201B6F"), BODY);
    expect(() => checkBody(md5("ec365a775a4cd0599faeb73354201b6f"), Buffer.alloc(0))).toThrow("0 bytes");
    expect(() => checkBody(md5("d41d8cd98f00b204e9800998ecf8427e"), BODY)).toThrow(
      'is "ec365a775a4cd0599faeb73354201b6f"',
    );
  });
});
