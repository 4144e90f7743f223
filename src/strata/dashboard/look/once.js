// What is shown once, such as a key. A browser asks before it throws that away. When the control
// plane begins anew, NiceGUI loads the page anew without asking: what was shown lies meanwhile in
// the storage of this tab, and is shown again. It lies there at no other time.

const KEPT_MS = 10 * 60 * 1000; // a start takes seconds; who comes later may be somebody else

export default class Once {
  #name;
  #shown = null;
  #leaves = false;

  // place: what of a page shows it.
  constructor(place) {
    this.#name = `strata-once ${place}`;
  }

  // What was shown here when the page was loaded anew, or null.
  take() {
    try {
      const text = sessionStorage.getItem(this.#name);
      sessionStorage.removeItem(this.#name);
      const { at, shown } = JSON.parse(text) ?? {};
      return Math.abs(Date.now() - at) < KEPT_MS ? shown : null;
    } catch {
      return null; // a browser that keeps nothing
    }
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
    this.take();
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
