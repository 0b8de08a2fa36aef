import { describePlatform, REQUIREMENTS, thisPlatform } from "../transport/platform.js";

/** Something could not be started; the message is all that an operator needs. */
export class StartError extends Error {
  override readonly name = "StartError";
}

const UNLOADABLE = /This version of uWS\.js supports only|ERR_DLOPEN_FAILED|uws_\w+\.node/;

/** What went wrong as one line for the terminal; with its stack where `debug` asks for it. */
export function startError(error: unknown, debug: boolean): StartError {
  const said = error instanceof Error ? chain(error) : String(error);
  if (UNLOADABLE.test(said))
    return new StartError(unsupported() + (debug ? `\n${said}` : ""), { cause: error });
  const stack = debug && error instanceof Error ? `\n${error.stack ?? ""}` : "";
  return new StartError(`cannot start: ${said}${stack}`, { cause: error });
}

/** The message, and those of its causes that say something new. */
function chain(error: Error): string {
  const parts: string[] = [];
  for (let at: unknown = error; at instanceof Error && parts.length < 5; at = at.cause) {
    const message = at.message.trim() || at.name;
    if (!parts.some((part) => part.includes(message))) parts.push(message);
  }
  return parts.join(": ").replaceAll("\n", " ");
}

function unsupported(): string {
  const found = describePlatform(thisPlatform());
  return `the server cannot run here: ${REQUIREMENTS}; found: ${found}. The client SDK runs anywhere.`;
}
