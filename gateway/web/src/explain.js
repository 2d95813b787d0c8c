// What a viewer is told when the gateway says no. Pure: from the answer's status, reason and sentence to words and what to do next.

/** How often a channel that is starting is asked for again by itself. */
export const PATIENCE = 5;

const WORDS = new Map([
  ["NotAllowed", "Your token does not include this channel"],
  ["NoChannel", "There is no such channel any more"],
  ["TooManyRequests", "Too many requests come from your network or with your token"],
  ["TooManyWrongTokens", "Too many wrong tokens came from your network"],
  ["Suspended", "This channel is switched off"],
  ["Overload", "Too many people are waiting for channels to start"],
  ["ProviderSlotsExhausted", "All connections to this channel's provider are in use"],
  ["HttpError", "The channel's source refuses to deliver"],
  ["AccountRefused", "The channel's provider refuses our account"],
  ["NoFreeConnection", "All connections to this channel's provider are in use"],
  ["ConnectFailed", "The channel's source cannot be reached"],
  ["EgressRefused", "The channel's source is not allowed here"],
  ["FileUnavailable", "The channel's file is not there"],
  ["EndOfStream", "The channel's source stopped"],
  ["Silent", "The channel's source is silent"],
  ["NoKeyframe", "The channel's source sends no picture to start from"],
  ["NotTransportStream", "The channel's source sends something that is no television"],
  ["NoTracks", "The channel's source has neither picture nor sound"],
  ["UnsupportedMedia", "The channel's source uses a format that cannot be played"],
]);

/** Reasons that pass by themselves within moments. */
const PASSING = new Set(["Starting", "SegmentUnavailable", "DirectoryUnavailable", "PodPending", "Overload", "TooManyRequests"]);

/** The reason and the sentence in a refusal's plain text: `Reason: sentence`. */
export function readRefusal(text) {
  const [, reason = "", message = ""] = /^(\w+): (.*)/s.exec(text ?? "") ?? [];
  return { reason, message: message.trim() };
}

/**
 * What to say, and what to do: `signOut` when the token is not accepted, `restart` when a new session helps,
 * `wait` when asking again by itself may help.
 */
export function explain(status, reason, message) {
  if (status === 401) {
    const expired = reason.startsWith("Session");
    return { title: expired ? "Starting again" : "Your token is not accepted", detail: "", action: expired ? "restart" : "signOut" };
  }
  if (status === 0 || status === undefined) {
    return { title: "The connection to the server is lost", detail: "Check your network, then try again.", action: "wait" };
  }
  if (PASSING.has(reason)) {
    return { title: WORDS.get(reason) ?? "The channel is starting", detail: "This can take a few seconds.", action: "wait" };
  }
  const title = WORDS.get(reason) ?? (status === 404 ? "The channel is not there any more" : "The channel cannot be played now");
  return { title, detail: WORDS.has(reason) && status < 429 ? "" : message, action: "ask" };
}
