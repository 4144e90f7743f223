// What is shown once, such as a key. A browser asks before it throws that away. When the control
// plane begins anew, NiceGUI loads the page anew without asking: what was shown lies meanwhile in
// the storage of this tab, and is shown again. Any page that loads this empties that.

const PREFIX = "strata-once ";
const KEPT_MS = 10 * 60 * 1000; // a start takes seconds; who comes later may be somebody else

const waiting = new Map();

try {
  for (const name of Object.keys(sessionStorage).filter((each) => each.startsWith(PREFIX))) {
    waiting.set(name, sessionStorage.getItem(name));
    sessionStorage.removeItem(name);
  }
} catch {
  // a browser that keeps nothing
}

export default class Once {
  #name;
  #shown = null;
  #leaves = false;

  // place: what of a page shows it.
  constructor(place) {
    this.#name = PREFIX + place;
  }

  // What was shown here when the page was loaded anew, or null.
  take() {
    const { at, shown } = JSON.parse(waiting.get(this.#name) ?? "{}");
    waiting.delete(this.#name);
    return Math.abs(Date.now() - at) < KEPT_MS ? shown : null;
  }

  // isKnown: that the server knows this page; else `found` says so.
  hold(shown, isKnown = true) {
    this.#shown = shown;
    this.#expect(!isKnown);
    this.#listen();
  }

  found() {
    if (this.#shown && !this.#leaves) this.#expect(false);
  }

  letGo() {
    this.#shown = null;
    removeEventListener("beforeunload", this.#ask);
    removeEventListener("pagehide", this.#keep);
    window.socket?.off("disconnect", this.#lost);
    window.socket?.off("try_reconnect", this.#left);
  }

  #listen() {
    if (!this.#shown) return;
    if (!window.socket) {
      setTimeout(() => this.#listen(), 20);
      return;
    }
    window.socket.on("disconnect", this.#lost);
    window.socket.on("try_reconnect", this.#left);
  }

  // Whether NiceGUI may be about to load the page: only after the connection was lost.
  #expect(is) {
    (is ? removeEventListener : addEventListener)("beforeunload", this.#ask);
    (is ? addEventListener : removeEventListener)("pagehide", this.#keep);
  }

  #ask = (event) => event.preventDefault();

  #lost = () => this.#expect(true);

  #left = () => {
    this.#leaves = true;
    this.#expect(true);
  };

  #keep = () => {
    try {
      sessionStorage.setItem(this.#name, JSON.stringify({ at: Date.now(), shown: this.#shown }));
    } catch {
      // see above
    }
  };
}
