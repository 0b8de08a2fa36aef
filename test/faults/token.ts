import { SignJWT } from "jose";

/** For all of a long run. */
const LIFETIME_SECONDS = 24 * 3_600;

export function tokenOf(user: string, secret: string): Promise<string> {
  return new SignJWT({ sub: user, channels: ["*"], publish: ["*"] })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime(Math.floor(Date.now() / 1000) + LIFETIME_SECONDS)
    .sign(new TextEncoder().encode(secret));
}
