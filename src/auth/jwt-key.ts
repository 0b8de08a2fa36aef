import {
  createPublicKey,
  createSecretKey,
  type JsonWebKey,
  type KeyObject,
  type PublicKeyInput,
} from "node:crypto";
import { createRemoteJWKSet, errors, type JWTVerifyGetKey } from "jose";
import { StarlingError } from "../core/errors.js";

export type JwtAlgorithm = "HS256" | "RS256" | "ES256";

export interface JwtKeyOptions {
  readonly algorithm: JwtAlgorithm;
  /** HS256: at least 32 bytes, as UTF-8. */
  readonly secret?: string | undefined;
  /** RS256, ES256: PEM (SPKI, PKCS#1 or a certificate), or a JWK as an object or as JSON text. */
  readonly publicKey?: string | JsonWebKey | undefined;
  /** RS256, ES256: where a JSON Web Key Set is fetched from. */
  readonly jwksUrl?: string | undefined;
}

/** RFC 7518 3.2: a key of the size of the hash output or larger. */
const SECRET_BYTES_MIN = 32;
/** RFC 7518 3.3. */
const RSA_BITS_MIN = 2048;

const JWKS_TIMEOUT_MS = 5_000;
/** An unknown `kid` fetches the set again at most this often: soon enough after a rotation, too seldom to hurt. */
const JWKS_COOLDOWN_MS = 5_000;
const JWKS_MAX_AGE_MS = 600_000;

/**
 * The one key, or source of keys, that tokens are checked with.
 * @throws Error saying which option is wrong; never with key material in it
 */
export function createJwtKey(options: JwtKeyOptions): KeyObject | JWTVerifyGetKey {
  const { algorithm, secret, publicKey, jwksUrl } = options;
  if (algorithm === "HS256") {
    if (publicKey !== undefined || jwksUrl !== undefined) {
      throw new Error("HS256 takes a secret: a public key or key set URL goes with RS256 or ES256");
    }
    return secretKey(secret);
  }
  if (secret !== undefined) {
    throw new Error(`${algorithm} takes a public key or a key set URL: a secret goes with HS256`);
  }
  if ((publicKey === undefined) === (jwksUrl === undefined)) {
    throw new Error(`${algorithm} takes a public key or a key set URL: give one of them`);
  }
  return jwksUrl === undefined ? verifyingKey(algorithm, publicKey!) : remoteKeys(jwksUrl);
}

function secretKey(secret: string | undefined): KeyObject {
  const bytes = Buffer.from(secret ?? "", "utf8");
  if (bytes.length < SECRET_BYTES_MIN) {
    throw new Error(
      `the HS256 secret has ${bytes.length} bytes, at least ${SECRET_BYTES_MIN} are needed: make one with openssl rand -hex 32`,
    );
  }
  return createSecretKey(bytes);
}

function verifyingKey(algorithm: "RS256" | "ES256", given: string | JsonWebKey): KeyObject {
  const key = readPublicKey(given);
  const type = key.asymmetricKeyType;
  if (algorithm === "RS256") {
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    if (type !== "rsa") throw new Error(`RS256 needs an RSA public key, got ${type}`);
    if (bits < RSA_BITS_MIN)
      throw new Error(`the RSA key has ${bits} bits, at least ${RSA_BITS_MIN} are needed`);
    return key;
  }
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (type !== "ec" || curve !== "prime256v1") {
    throw new Error(`ES256 needs a public key on curve P-256, got ${type}${curve ? ` on ${curve}` : ""}`);
  }
  return key;
}

function readPublicKey(given: string | JsonWebKey): KeyObject {
  const jwk = typeof given === "string" && given.trimStart().startsWith("{") ? parseJwk(given) : given;
  // Node would derive the public key and go on: the node would hold what can sign tokens.
  if (typeof jwk === "string" ? jwk.includes("PRIVATE KEY") : jwk.d !== undefined) {
    throw new Error("this is a private key: a node checks tokens with the public one");
  }
  try {
    return createPublicKey(
      typeof jwk === "string" ? jwk : ({ key: jwk, format: "jwk" } as unknown as PublicKeyInput),
    );
  } catch (cause) {
    throw new Error("the public key cannot be read: PEM or a JWK is expected", { cause });
  }
}

function parseJwk(text: string): JsonWebKey {
  try {
    return JSON.parse(text) as JsonWebKey;
  } catch {
    // The parser's message repeats the text: it is not passed on as a cause.
    throw new Error("the public key starts like a JWK and is not JSON");
  }
}

function remoteKeys(jwksUrl: string): JWTVerifyGetKey {
  const url = URL.canParse(jwksUrl) ? new URL(jwksUrl) : undefined;
  if (url?.protocol !== "https:" && url?.protocol !== "http:") {
    throw new Error(`the key set URL must be an http or https URL, not ${JSON.stringify(jwksUrl)}`);
  }
  const keys = createRemoteJWKSet(url, {
    timeoutDuration: JWKS_TIMEOUT_MS,
    cooldownDuration: JWKS_COOLDOWN_MS,
    cacheMaxAge: JWKS_MAX_AGE_MS,
  });
  return async (header, token) => {
    try {
      return await keys(header, token);
    } catch (cause) {
      const byToken =
        cause instanceof errors.JWKSNoMatchingKey ||
        cause instanceof errors.JWKSMultipleMatchingKeys ||
        cause instanceof errors.JOSENotSupported;
      if (byToken) throw cause;
      throw new StarlingError("unavailable", "the keys that verify tokens cannot be fetched now", {
        cause,
      });
    }
  };
}
