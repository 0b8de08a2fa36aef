import { expect } from "vitest";

/** For toMatchObject, where a bare RegExp matches any text whatever. */
export const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern);
