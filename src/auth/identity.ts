import type { Authorizer, Identity } from "../core/authorizer.js";
import { PatternList, type ChannelList } from "./patterns.js";

/** An identity whose rights are two lists. One flat object per connection. */
export class PatternIdentity implements Identity {
  readonly userId: string | null;
  readonly expiresAt: number | undefined;
  readonly channels: ChannelList;
  readonly publish: ChannelList;
  readonly info: string | undefined;

  constructor(
    userId: string | null,
    expiresAt: number | undefined,
    channels: ChannelList,
    publish: ChannelList,
    info?: string,
  ) {
    this.userId = userId;
    this.expiresAt = expiresAt;
    this.channels = channels;
    this.publish = publish;
    this.info = info;
  }

  maySubscribe(channel: string): boolean {
    return this.channels.matches(channel);
  }

  mayPublish(channel: string): boolean {
    return this.publish.matches(channel);
  }
}

/** The identity with other rights: the user, the expiry and the info stay; a list that is given replaces the former one. */
export const permitPatterns: Authorizer["permit"] = (identity, rights) => {
  const channels = rights.channels && new PatternList(rights.channels);
  const publish = rights.publish && new PatternList(rights.publish);
  if (identity instanceof PatternIdentity) {
    return new PatternIdentity(
      identity.userId,
      identity.expiresAt,
      channels ?? identity.channels,
      publish ?? identity.publish,
      identity.info,
    );
  }
  return {
    userId: identity.userId,
    expiresAt: identity.expiresAt,
    info: identity.info,
    maySubscribe: (channel) => (channels ? channels.matches(channel) : identity.maySubscribe(channel)),
    mayPublish: (channel) => (publish ? publish.matches(channel) : identity.mayPublish(channel)),
  };
};
