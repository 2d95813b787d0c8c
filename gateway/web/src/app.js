// The start page: asks for a token, lists channels, plays them. The token lives in this tab's sessionStorage and travels in a header only.
import { PATIENCE, explain, readRefusal } from "./explain.js";

const element = (id) => document.getElementById(id);
const video = element("video");
const STORED = "headend-token";

/** How often a player that stumbles over what it decodes may start over. */
const REPAIRS = 3;

let token = sessionStorage.getItem(STORED);
let channels = [];
let player = null;
let current = null;
let timer = 0;

// Signing in

async function load() {
  const response = await fetch("api/v1/channels", { headers: { authorization: `Bearer ${token}` } });
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw Object.assign(new Error(body.message ?? `The server answered ${response.status}.`), { status: response.status });
  }
  channels = (await response.json()).channels;
}

async function signIn() {
  element("token-error").textContent = "";
  try {
    await load();
  } catch (error) {
    return signOut(error.status === 401 ? "This token is not valid." : `The channels cannot be loaded: ${error.message}`);
  }
  sessionStorage.setItem(STORED, token);
  element("sign-in").hidden = true;
  element("watch").hidden = false;
  element("sign-out").hidden = false;
  list();
  const linked = channels.find((channel) => channel.slug === decodeURIComponent(location.hash.slice(1)));
  if (linked) play(linked);
}

function signOut(message = "") {
  stop();
  token = null;
  current = null;
  sessionStorage.removeItem(STORED);
  element("sign-in").hidden = false;
  element("watch").hidden = true;
  element("sign-out").hidden = true;
  element("token").value = "";
  element("token-error").textContent = message;
  element("token").focus();
}

// The list

function list() {
  const wanted = element("filter").value.trim().toLowerCase();
  const shown = channels.filter((channel) => `${channel.number ?? ""} ${channel.name}`.toLowerCase().includes(wanted));
  const numbered = channels.some((channel) => channel.number);
  const rows = [];
  let group;
  for (const channel of shown) {
    if (channel.group !== group) {
      group = channel.group;
      rows.push(heading(group ?? "Other channels"));
    }
    rows.push(row(channel, numbered));
  }
  element("channels").replaceChildren(...rows);
  const none = element("no-channels");
  none.hidden = shown.length > 0;
  none.textContent = channels.length > 0 ? "No channel has that name." : "There are no channels for this token yet.";
}

function heading(text) {
  const title = document.createElement("h3");
  title.textContent = text;
  return title;
}

function row(channel, numbered) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.slug = channel.slug;
  button.setAttribute("aria-current", String(channel.slug === current?.slug));
  if (numbered) button.append(part("number", channel.number ?? ""));
  button.append(picture(channel), part("name", channel.name));
  button.addEventListener("click", () => play(channel));
  return button;
}

function part(kind, text) {
  const span = document.createElement("span");
  span.className = kind;
  span.textContent = text;
  return span;
}

function picture(channel) {
  const initial = part("picture", channel.name.slice(0, 1).toUpperCase());
  initial.setAttribute("aria-hidden", "true");
  if (!channel.logo) return initial;
  const image = document.createElement("img");
  image.className = "picture";
  image.alt = "";
  image.loading = "lazy";
  image.referrerPolicy = "no-referrer";
  image.src = channel.logo;
  image.addEventListener("error", () => image.replaceWith(initial));
  return image;
}

// Playing

function play(channel, attempt = 0) {
  stop();
  current = channel;
  location.replace(`#${encodeURIComponent(channel.slug)}`);
  document.title = `${channel.name} – Headend`;
  element("playing").textContent = channel.name;
  for (const button of element("channels").querySelectorAll("button")) {
    button.setAttribute("aria-current", String(button.dataset.slug === channel.slug));
  }
  say(`Starting ${channel.name}`, "", "busy");
  const failed = (status, text) => fail(channel, attempt, status, text);
  const url = `live/${encodeURIComponent(channel.slug)}/master.m3u8`;
  if (window.Hls?.isSupported()) playByScript(url, failed);
  else playNatively(url, failed);
}

function playByScript(url, failed) {
  let repairs = REPAIRS;
  player = new window.Hls({ enableWorker: true, xhrSetup: authorise });
  player.on(window.Hls.Events.ERROR, (_event, problem) => {
    if (!problem.fatal) return;
    if (problem.type === window.Hls.ErrorTypes.NETWORK_ERROR) {
      const request = problem.networkDetails;
      return failed(request?.status ?? problem.response?.code, request?.responseText);
    }
    if (repairs-- > 0) return player.recoverMediaError();
    failed(503, "Player: this browser could not play the channel");
  });
  player.on(window.Hls.Events.LEVEL_SWITCHED, (_event, { level }) => {
    const { height, bitrate } = player.levels[level];
    element("quality").textContent = height ? `${height}p, ${(bitrate / 1e6).toFixed(1)} Mbit/s` : "";
  });
  player.loadSource(url);
  player.attachMedia(video);
  start();
}

/** Only the master playlist needs the token; what it names carries its own permission. */
function authorise(request, url) {
  if (new URL(url, location.href).pathname.includes("/live/")) request.setRequestHeader("authorization", `Bearer ${token}`);
}

/** A player that takes no headers gets the first rendition, whose address carries a session instead of a token. */
async function playNatively(url, failed) {
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } }).catch(() => null);
  const text = await response?.text();
  if (!response?.ok) return failed(response?.status, text);
  video.onerror = () => failed(503, "Native: this browser could not play the channel");
  video.src = text.split("\n").find((line) => line && !line.startsWith("#"));
  start();
}

function start() {
  video.play().catch(() => {
    // Browsers keep pages from making sound before a click: then the picture starts alone.
    video.muted = true;
    video.play().catch(() => {});
  });
}

function stop() {
  clearTimeout(timer);
  video.onerror = null;
  player?.destroy();
  player = null;
  video.removeAttribute("src");
  video.load();
  element("quality").textContent = "";
}

function fail(channel, attempt, status, text) {
  const { reason, message } = readRefusal(text);
  const { title, detail, action } = explain(status, reason, message);
  if (action === "signOut") return signOut(`${title}.`);
  if (action === "restart" && attempt === 0) return play(channel, attempt + 1);
  stop();
  const again = action === "wait" && attempt < PATIENCE;
  say(title, detail, again ? "busy" : "wrong");
  if (again) timer = setTimeout(() => play(channel, attempt + 1), 2000);
}

function say(title, detail, state) {
  element("notice").hidden = false;
  element("notice").className = state;
  element("notice-title").textContent = title;
  element("notice-detail").textContent = detail;
  element("again").hidden = state !== "wrong";
}

// What people do

video.addEventListener("playing", () => { element("notice").hidden = true; });
element("again").addEventListener("click", () => { if (current) play(current); });
element("filter").addEventListener("input", list);
element("sign-out").addEventListener("click", () => signOut());
element("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = element("token").value.trim();
  signIn();
});

if (token) signIn();
