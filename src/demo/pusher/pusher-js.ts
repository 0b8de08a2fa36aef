/** What this page uses of pusher-js: its own types name the default export of a module, which a script has not. */

import type PusherModule from "pusher-js";

export type PusherClass = typeof PusherModule.default;
export type Pusher = InstanceType<PusherClass>;
export type { Channel, Options, PresenceChannel } from "pusher-js";
