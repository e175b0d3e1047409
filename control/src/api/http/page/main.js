// Asks lbd again and again, and says when it does not answer.

const RECENT_MS = 1000;
const STATUS_MS = 2000;
const SERVICES_MS = 2000;
const PATIENCE_MS = 5000;
// Answers that must fail, one after the other, before lbd counts as away: one may be refused when many ask.
const FAILURES = 2;

const link = {failures: 0, heard: null, ready: null, version: null, isPaused: false};

// Relative to the page: a proxy may have it below a path of its own.
async function get(path) {
  const answer = await fetch(`api/v1/${path}`, {signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store"});
  if (!answer.ok) throw new Error(`${answer.status}: ${(await answer.text()).trim()}`);
  return answer.json();
}

function showLink() {
  const isAway = link.failures >= FAILURES;
  document.body.classList.toggle("is-away", isAway);
  const state = byId("state");
  const [text, className] = isAway ? ["no answer", "bad"]
    : link.isPaused ? ["paused", "warn"]
    : link.heard === null ? ["connecting", ""]
    : link.ready ? ["ready", "good"]
    : ["not ready", "warn"];
  setText(state, text);
  setClass(state, `pill ${className}`.trim());
  state.title = text === "not ready" ? "a worker has not taken the configuration in time" : "";
  const away = byId("away");
  if (isAway) {
    const since = link.heard === null ? "" : ` since ${link.heard.toTimeString().slice(0, 8)}; what is shown is from then`;
    setText(away, `lbd does not answer${since}. Trying again.`);
  } else if (link.isOther) {
    setText(away, "Another version of lbd answers now: reload this page.");
  }
  away.hidden = !isAway && !link.isOther;
  document.title = isAway ? `natlb ${location.host}: no answer` : `natlb ${location.host}`;
}

async function askRecent() {
  try {
    let answer = await get(`recent?from=${recent.next}`);
    // Another lbd numbers its seconds anew.
    if (recent.began !== null && answer.began_ms !== recent.began && answer.first > 0) {
      answer = await get("recent");
    }
    addRecent(answer);
    Object.assign(link, {failures: 0, heard: new Date(), ready: answer.ready});
  } catch {
    link.failures += 1;
  }
  drawPictures();
  showLink();
}

async function askStatus() {
  if (!reasons.length) reasons = (await get("reasons")).reasons;
  const status = await get("status");
  link.isOther = link.version !== null && link.version !== status.version;
  link.version ??= status.version;
  addStatus(status);
  showStatus();
}

let question = 0;

async function askServices() {
  question += 1;
  const asked = question;
  const answer = await get(servicesPath());
  // What was asked before something else is wanted is no answer any more.
  if (asked === question) showServices(answer);
}

// Does it again and again, a while after it is done, unless nobody looks. `pause`: milliseconds, or what says them.
function repeat(ask, pause) {
  let timer = null;
  let isAsking = false;
  const turn = async () => {
    clearTimeout(timer);
    if (isAsking || link.isPaused || document.hidden) return;
    isAsking = true;
    // That lbd does not answer is seen, and said, by askRecent.
    await ask().catch(() => {});
    isAsking = false;
    timer = setTimeout(turn, typeof pause === "function" ? pause() : pause);
  };
  turn();
  return turn;
}

setText(byId("host"), location.host);
makePictures(byId("pictures"));
readWanted();
// There are no rates before the second status.
const statusPause = () => (statuses.length < 2 ? STATUS_MS / 2 : STATUS_MS);
const turns = [repeat(askRecent, RECENT_MS), repeat(askStatus, statusPause), repeat(askServices, SERVICES_MS)];
const goOn = () => turns.forEach((turn) => turn());
listenForWanted(() => void askServices().catch(() => {}));
byId("all-drops").addEventListener("change", () => statuses.length && showStatus());
document.addEventListener("visibilitychange", goOn);
byId("pause").addEventListener("click", (event) => {
  link.isPaused = !link.isPaused;
  event.target.setAttribute("aria-pressed", String(link.isPaused));
  setText(event.target, link.isPaused ? "Go on" : "Pause");
  showLink();
  goOn();
});
