import { SignJWT } from "jose";

/** For all of a long run. */
const LIFETIME_SECONDS = 24 * 3_600;

/** @param infoBytes  of the JSON that the user shows of itself where it is a member; 0: it shows nothing */
export function tokenOf(user: string, secret: string, infoBytes = 0): Promise<string> {
  const claims = { sub: user, channels: ["*"], publish: ["*"] };
  return new SignJWT(infoBytes === 0 ? claims : { ...claims, info: infoOf(user, infoBytes) })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime(Math.floor(Date.now() / 1000) + LIFETIME_SECONDS)
    .sign(new TextEncoder().encode(secret));
}

/** Another one for each user. */
function infoOf(name: string, bytes: number): object {
  const short = JSON.stringify({ name, about: "" });
  return { name, about: "-".repeat(Math.max(0, bytes - short.length)) };
}
