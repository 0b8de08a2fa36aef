import { PEER_NAMES } from "../types.js";

/** The page's colours, as its style has them now. */
export interface Theme {
  readonly text: string;
  readonly muted: string;
  readonly line: string;
  peer(name: string): string;
}

const PEER_COLORS = 11;
/** A peer has one colour in all reports, so that two can be laid side by side. */
const KNOWN: readonly string[] = PEER_NAMES;

/** @param peers all that the report has */
export function readTheme(peers: readonly string[]): Theme {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const others = peers.filter((each) => !KNOWN.includes(each));
  const colorOf = (name: string): number => {
    const known = KNOWN.indexOf(name);
    return known !== -1 ? known : KNOWN.length + (others.indexOf(name) % (PEER_COLORS - KNOWN.length));
  };
  return {
    text: color("--text"),
    muted: color("--muted"),
    line: color("--line"),
    peer: (name) => color(`--peer-${colorOf(name)}`),
  };
}
