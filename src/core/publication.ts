/** What is published to a channel, and where it stands there. */

import type { Payload } from "../encoding/payload.js";
import type { PublicationExtras } from "./extras.js";

export type Tags = Readonly<Record<string, string>>;

/** Where a publication stands in its channel's history; channels without history have none. */
export interface Position {
  /** From 1, no gaps. */
  readonly offset: number;
  readonly epoch: string;
}

/** Who published: the connection, and the user where the connection is identified. */
export interface Sender {
  readonly connection: string;
  readonly user?: string | undefined;
}

export interface Publication {
  readonly payload: Payload;
  readonly from: Sender | undefined;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  readonly position: Position | undefined;
  readonly extras?: PublicationExtras | undefined;
}
