import assert from "node:assert/strict";
import test from "node:test";
import { explain, readRefusal } from "../src/explain.js";

test("a refusal's text is a reason and a sentence", () => {
  assert.deepEqual(readRefusal("HttpError: the source answered 404: Not Found\n"), { reason: "HttpError", message: "the source answered 404: Not Found" });
  for (const other of [undefined, "", "<html>", "two words: x"]) {
    assert.deepEqual(readRefusal(other), { reason: "", message: "" });
  }
});

test("a source's failure is told with what the server knows", () => {
  assert.deepEqual(explain(503, "HttpError", "the source answered 404"), {
    title: "The channel's source refuses to deliver",
    detail: "the source answered 404",
    action: "ask",
  });
  assert.equal(explain(503, "ReasonOfTheFuture", "so it is").title, "The channel cannot be played now");
});

test("what passes by itself is waited for, and what does not is not", () => {
  assert.equal(explain(503, "Starting", "").action, "wait");
  assert.equal(explain(0, "", "").action, "wait");
  assert.equal(explain(503, "Suspended", "").action, "ask");
  assert.equal(explain(404, "NoChannel", "").action, "ask");
});

test("whoever asks too often learns how long to wait", () => {
  assert.equal(explain(429, "TooManyRequests", "").action, "wait");
  assert.deepEqual(explain(429, "TooManyWrongTokens", "ask again in 64 s"), {
    title: "Too many wrong tokens came from your network",
    detail: "ask again in 64 s",
    action: "ask",
  });
});

test("a token that is not accepted signs out, a session that is over starts again", () => {
  assert.equal(explain(401, "WrongToken", "").action, "signOut");
  assert.equal(explain(401, "SessionExpired", "").action, "restart");
});
