import type { Position } from "../protocols/starling/words.js";
import type { Frame } from "./frames.js";

export function positionOf(frame: Frame): Position | undefined {
  const { offset, epoch } = frame as Partial<Record<string, unknown>>;
  return typeof offset === "number" && typeof epoch === "string" ? { offset, epoch } : undefined;
}

/** What a reply to subscribe, a `subscribed` or a `gap` says of where the client stands. */
export interface Standing {
  /** Before the missed messages that follow; undefined where the channel does not recover. */
  readonly position: Position | undefined;
  readonly recovered: boolean | undefined;
}

export function standingOf(frame: Frame): Standing {
  const { recovered, missed } = frame as Partial<Record<string, unknown>>;
  const top = positionOf(frame);
  const toCome = typeof missed === "number" ? missed : 0;
  return {
    position: top && { offset: Math.max(0, top.offset - toCome), epoch: top.epoch },
    recovered: typeof recovered === "boolean" ? recovered : undefined,
  };
}

/** Whether a message at `next` comes after everything up to `at`, was had before, or skips some. */
export function judge(at: Position | undefined, next: Position): "next" | "duplicate" | "jump" {
  if (at === undefined) return "next";
  if (next.epoch !== at.epoch || next.offset > at.offset + 1) return "jump";
  return next.offset > at.offset ? "next" : "duplicate";
}

/** Whether who stands at `at` misses nothing when it goes on from `base`. */
export function reaches(at: Position | undefined, base: Position): boolean {
  return at === undefined || (base.epoch === at.epoch && base.offset <= at.offset);
}
