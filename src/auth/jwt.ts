import { errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from "jose";
import type { Authorizer } from "../core/authorizer.js";
import { checkChannelName, isServerChannel } from "../protocol/channel-name.js";
import { StarlingError, quote } from "../protocol/errors.js";
import { PatternIdentity, permitPatterns } from "./identity.js";
import { createJwtKey, type JwtKeyOptions } from "./jwt-key.js";
import { sharedPatternList, type PatternList } from "./patterns.js";

export interface JwtAuthorizerOptions extends JwtKeyOptions {
  /** Accepted `aud` values: the token must carry one of them. Not given: not checked. */
  readonly audience?: string | readonly string[] | undefined;
  /** Accepted `iss` values. Not given: not checked. */
  readonly issuer?: string | readonly string[] | undefined;
  /** How far the clocks of issuer and node may differ, for exp and nbf. Default 0. */
  readonly clockToleranceSeconds?: number | undefined;
  /**
   * Accept tokens without `exp`. Default false: such a token cannot be taken
   * back, and a connection made with it lives as long as its client likes.
   */
  readonly allowNoExpiry?: boolean | undefined;
  /** Milliseconds since 1970; default Date.now. */
  readonly now?: (() => number) | undefined;
}

const TOKEN_CHARACTERS_MAX = 8192;
const SUBJECT_CHARACTERS_MAX = 128;
/** Controls, line separators and lone surrogates: what would forge log lines or collide once encoded. */
const UNSAFE_IN_SUBJECT = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;
/** The last second that a Date can hold. */
const SECONDS_MAX = 8.64e12;

/**
 * Tokens are JWTs, signed with exactly the one algorithm given: the header of a
 * token never chooses how it is checked. Claims: `sub` is the user; `channels`
 * and `publish` list patterns of what may be subscribed and sent to, and an
 * absent list allows nothing.
 * @throws Error where an option is wrong
 */
export function createJwtAuthorizer(options: JwtAuthorizerOptions): Authorizer {
  const key = createJwtKey(options);
  const toleranceSeconds = options.clockToleranceSeconds ?? 0;
  if (!Number.isFinite(toleranceSeconds) || toleranceSeconds < 0) {
    throw new Error(`clockToleranceSeconds must be 0 or more, not ${toleranceSeconds}`);
  }
  const now = options.now ?? Date.now;
  const checks: JWTVerifyOptions = {
    algorithms: [options.algorithm],
    clockTolerance: toleranceSeconds,
    requiredClaims: options.allowNoExpiry === true ? [] : ["exp"],
  };
  if (options.audience !== undefined) checks.audience = accepted("audience", options.audience);
  if (options.issuer !== undefined) checks.issuer = accepted("issuer", options.issuer);

  async function verify(token: string): Promise<JWTPayload> {
    const current = { ...checks, currentDate: new Date(now()) };
    try {
      const verified =
        typeof key === "function"
          ? await jwtVerify(token, key, current)
          : await jwtVerify(token, key, current);
      return verified.payload;
    } catch (error) {
      if (error instanceof errors.JOSEError) throw refusal(error, options);
      throw error;
    }
  }

  return {
    required: true,
    anonymous: undefined,
    async authenticate({ token }) {
      if (token === undefined || token === "") {
        throw new StarlingError("unauthorized", "this node asks for a token: send connect with one");
      }
      if (token.length > TOKEN_CHARACTERS_MAX) {
        throw invalid(`token has ${token.length} characters, at most ${TOKEN_CHARACTERS_MAX} are allowed`);
      }
      const claims = await verify(token);
      return new PatternIdentity(
        readSubject(claims.sub),
        readExpiry(claims.exp, toleranceSeconds),
        readPatterns("channels", claims["channels"]),
        readPatterns("publish", claims["publish"]),
      );
    },
    permit: permitPatterns,
  };
}

/** An empty list or value would be a check that is on and passes, or refuses, everything. */
function accepted(name: string, given: string | readonly string[]): string[] {
  const values = typeof given === "string" ? [given] : [...given];
  if (values.length === 0 || values.includes(""))
    throw new Error(`${name} has an empty value: leave it out instead`);
  return values;
}

function invalid(message: string): StarlingError {
  return new StarlingError("token_invalid", message);
}

/**
 * What a client is told. Neither the token nor jose's error, which carries the
 * claims, goes along as a cause: it would end up in logs.
 */
function refusal(error: errors.JOSEError, options: JwtAuthorizerOptions): StarlingError {
  if (error instanceof errors.JWTExpired) {
    return new StarlingError("token_expired", `token expired at ${at(error.payload.exp)}: get a fresh one`);
  }
  if (error instanceof errors.JWTClaimValidationFailed) return claimRefusal(error);
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return invalid(
      `token is not signed with ${options.algorithm}, the only algorithm that this node accepts`,
    );
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return invalid("token signature is wrong: it was made with another key, or the token was changed");
  }
  if (error instanceof errors.JWKSNoMatchingKey) {
    return invalid(`no ${options.algorithm} key of the key set matches the token's "kid"`);
  }
  if (error instanceof errors.JWKSMultipleMatchingKeys) {
    return invalid('several keys of the key set match the token: it needs a "kid" that names one');
  }
  return invalid("token cannot be read: a signed JWT (three base64url parts) is expected");
}

function claimRefusal(error: errors.JWTClaimValidationFailed): StarlingError {
  const { claim, reason, payload } = error;
  if (reason === "missing") return invalid(`token has no "${claim}" claim, which this node asks for`);
  if (reason === "invalid") return invalid(`"${claim}" claim must be a number, not ${kind(payload[claim])}`);
  if (claim === "nbf") return invalid(`token is not valid before ${at(payload.nbf)} ("nbf" claim)`);
  return invalid(`"${claim}" claim ${kind(payload[claim])} is not one that this node accepts`);
}

function at(seconds: number | undefined): string {
  if (seconds === undefined || !(Math.abs(seconds) <= SECONDS_MAX)) return String(seconds);
  return new Date(seconds * 1000).toISOString();
}

/** A claim's value as an error shows it: containers by name, as they may be of any size and depth. */
function kind(value: unknown): string {
  if (value === undefined) return "absent";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : quote(value);
}

function readSubject(sub: unknown): string {
  if (sub === undefined) throw invalid('token has no "sub" claim: it names the user');
  if (typeof sub !== "string") throw invalid(`"sub" claim must be a string, not ${kind(sub)}`);
  if (sub.length === 0) throw invalid('"sub" claim is empty: it names the user');
  if (sub.length > SUBJECT_CHARACTERS_MAX) {
    throw invalid(`"sub" claim has ${sub.length} characters, at most ${SUBJECT_CHARACTERS_MAX} are allowed`);
  }
  const unsafe = sub.search(UNSAFE_IN_SUBJECT);
  if (unsafe !== -1) throw invalid(`"sub" claim has a control character at ${unsafe}`);
  return sub;
}

/** The tolerance is part of the answer: a connection lives for as long as its token would be accepted. */
function readExpiry(exp: number | undefined, toleranceSeconds: number): number | undefined {
  if (exp === undefined) return undefined;
  // JSON's 1e999 reads as Infinity, which is a number and never over.
  if (exp > SECONDS_MAX) throw invalid(`"exp" claim ${exp} is not a time in unix seconds`);
  return exp + toleranceSeconds;
}

function readPatterns(claim: "channels" | "publish", value: unknown): PatternList {
  if (value === undefined) return sharedPatternList([]);
  if (!Array.isArray(value)) {
    throw invalid(`"${claim}" claim must be an array of channel patterns, not ${kind(value)}`);
  }
  for (const [index, pattern] of value.entries()) {
    if (typeof pattern !== "string") {
      throw invalid(`"${claim}" claim must hold strings, item ${index} is ${kind(pattern)}`);
    }
    if (isServerChannel(pattern)) {
      throw invalid(`"${claim}" claim item ${index} is ${quote(pattern)}: channels with # are the server's`);
    }
    try {
      checkChannelName(pattern);
    } catch (error) {
      if (error instanceof StarlingError) throw invalid(`"${claim}" claim item ${index}: ${error.message}`);
      throw error;
    }
  }
  return sharedPatternList(value as string[]);
}
