import { SignJWT } from "jose";

/** For all of a long run. */
const LIFETIME_SECONDS = 24 * 3_600;

/** Presence channels by their names need a right of their own. */
const CHANNELS = ["*", "presence-*"];

/** @param info  what the user shows of itself where it is a member */
export function tokenOf(user: string, secret: string, info?: object): Promise<string> {
  const claims = { sub: user, channels: CHANNELS, publish: ["*"] };
  return new SignJWT(info === undefined ? claims : { ...claims, info })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime(Math.floor(Date.now() / 1000) + LIFETIME_SECONDS)
    .sign(new TextEncoder().encode(secret));
}

/** Another one for each user, of so many bytes as JSON. */
export function infoOf(name: string, bytes: number): object {
  const short = JSON.stringify({ name, about: "" });
  return { name, about: "-".repeat(Math.max(0, bytes - short.length)) };
}
