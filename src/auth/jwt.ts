import { errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from "jose";
import { RIGHTS_BY_IDENTITY, type Authorizer } from "../core/authorizer.js";
import { checkChannelName, isServerChannel } from "../core/channel-name.js";
import { StarlingError, quote } from "../core/errors.js";
import { TOKEN_CHARACTERS_MAX } from "../core/limits.js";
import { MemberInfoError, encodeMemberInfo } from "../core/member-info.js";
import { userIdProblem } from "../core/user-id.js";
import { PatternIdentity, permitPatterns } from "./identity.js";
import { createJwtKey, type JwtKeyOptions } from "./jwt-key.js";
import { sharedPatternList, type PatternList } from "./patterns.js";

export interface JwtAuthorizerOptions extends JwtKeyOptions {
  /** Accepted `aud` values: the token must carry one of them. Not given: not checked. */
  readonly audience?: string | readonly string[] | undefined;
  /** Accepted `iss` values. Not given: not checked. */
  readonly issuer?: string | readonly string[] | undefined;
  /** How far the clocks of issuer and node may differ: exp and nbf are off by so much at most. Default 0. */
  readonly clockToleranceSeconds?: number | undefined;
  /**
   * Accept tokens without `exp`. Default false: such a token cannot be taken
   * back, and a connection made with it lives as long as its client likes.
   */
  readonly allowNoExpiry?: boolean | undefined;
  /** Milliseconds since 1970; default Date.now. */
  readonly now?: (() => number) | undefined;
}

/** The year 5138. A time after it is one in milliseconds: those are beyond it from March 1973 on. */
const SECONDS_MAX = 1e11;

/**
 * Tokens are JWTs, signed with exactly the one algorithm given: the header of a
 * token never chooses how it is checked. Claims: `sub` is the user; `channels`
 * and `publish` list patterns of what may be subscribed and sent to, and an
 * absent list allows nothing; `info` is what others see of the user.
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
      if (error instanceof errors.JOSEError) {
        // jose compares whole seconds.
        throw refusal(error, options, Math.floor(now() / 1000) + toleranceSeconds);
      }
      throw error;
    }
  }

  return {
    required: true,
    anonymous: undefined,
    clockToleranceSeconds: toleranceSeconds,
    async authenticate({ token }) {
      if (token === undefined || token === "") {
        throw new StarlingError("unauthorized", "this node requires a token: send connect with one");
      }
      if (token.length > TOKEN_CHARACTERS_MAX) {
        throw invalid(`token has ${token.length} characters, at most ${TOKEN_CHARACTERS_MAX} are allowed`);
      }
      const claims = await verify(token);
      checkTime("iat", claims.iat);
      checkTime("exp", claims.exp);
      return new PatternIdentity(
        readSubject(claims.sub),
        claims.exp,
        readPatterns("channels", claims["channels"]),
        readPatterns("publish", claims["publish"]),
        readInfo(claims["info"]),
      );
    },
    permit: permitPatterns,
    ...RIGHTS_BY_IDENTITY,
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
function refusal(
  error: errors.JOSEError,
  options: JwtAuthorizerOptions,
  latestSeconds: number,
): StarlingError {
  if (error instanceof errors.JWTExpired) {
    return new StarlingError("token_expired", `token expired at ${at(error.payload.exp)}: get a fresh one`);
  }
  if (error instanceof errors.JWTClaimValidationFailed) return claimRefusal(error, latestSeconds);
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

/** @param latestSeconds  what the issuer's clock may show by now */
function claimRefusal(error: errors.JWTClaimValidationFailed, latestSeconds: number): StarlingError {
  const { claim, reason, payload } = error;
  if (reason === "missing") return invalid(`token has no "${claim}" claim, which this node requires`);
  if (reason === "invalid") return invalid(`"${claim}" claim must be a number, not ${kind(payload[claim])}`);
  if (claim === "nbf") return notYet(payload.nbf!, latestSeconds);
  return invalid(`"${claim}" claim ${kind(payload[claim])} is not accepted by this node`);
}

/** Temporary: a node whose clock is behind the issuer's by more than the tolerance takes it later. */
function notYet(nbf: number, latestSeconds: number): StarlingError {
  try {
    checkTime("nbf", nbf);
  } catch (error) {
    return error as StarlingError;
  }
  return new StarlingError(
    "token_not_active",
    `token is not valid before ${at(nbf)} ("nbf" claim): compare the clocks of its issuer and this node`,
    { retryAfterMs: Math.ceil((nbf - latestSeconds) * 1000) },
  );
}

/** @throws StarlingError token_invalid for what is no time in seconds, such as Date.now() */
function checkTime(claim: "exp" | "nbf" | "iat", seconds: number | undefined): void {
  // JSON's 1e999 reads as Infinity, which is a number and never over.
  if (seconds === undefined || seconds <= SECONDS_MAX) return;
  const hint = Number.isFinite(seconds) ? `: for milliseconds, give ${Math.floor(seconds / 1000)}` : "";
  throw invalid(`"${claim}" claim ${seconds} is not a time in unix seconds${hint}`);
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
  if (sub === undefined) throw invalid('token has no "sub" claim, which must name the user');
  if (typeof sub !== "string") throw invalid(`"sub" claim must be a string, not ${kind(sub)}`);
  const problem = userIdProblem(sub);
  if (problem !== undefined) throw invalid(`"sub" claim ${problem}`);
  return sub;
}

function readInfo(value: unknown): string | undefined {
  try {
    return encodeMemberInfo(value);
  } catch (error) {
    if (error instanceof MemberInfoError) throw invalid(`"info" claim ${error.message}`);
    throw error;
  }
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
      throw invalid(
        `"${claim}" claim item ${index} is ${quote(pattern)}: channels that begin with # are reserved for the server`,
      );
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
