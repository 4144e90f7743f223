// What all panels have in common; the other half of each is in panel.py.

const STALE_MS = 4000;
const ANSWER_MS = 60000; // a destination that is tried takes half of it
const LOST = "No answer came, so it is not known whether it was done. Look at the state before you try again.";

const all = new Map();
let listens = false;

function listen() {
  if (listens || !window.socket) return listens;
  listens = true;
  window.socket.on("strata", ({ panel, what, data }) => all.get(panel)?.take(what, data));
  window.socket.on("connect", () => all.forEach((panel) => panel.connected()));
  window.socket.on("disconnect", () => all.forEach((panel) => panel.forget()));
  return true;
}

export default {
  data() {
    return { heardAt: Date.now(), now: Date.now(), ahead: 0 };
  },
  computed: {
    // Seconds without news; 0 while they come as they should.
    silence() {
      const gone = this.now - this.heardAt;
      return gone > STALE_MS ? Math.round(gone / 1000) : 0;
    },
  },
  created() {
    // Of this panel alone; what is not in data() is not followed by Vue.
    this.kept = { asked: new Map(), count: 0 };
  },
  mounted() {
    this.kept.panelId = Number(String(this.$attrs.id ?? this.$el.id).replace(/\D/g, ""));
    all.set(this.kept.panelId, this);
    const wait = () => (listen() ? this.connected() : setTimeout(wait, 20));
    wait();
    this.kept.clock = setInterval(this.second, 1000);
  },
  unmounted() {
    all.delete(this.kept.panelId);
    clearInterval(this.kept.clock);
  },
  methods: {
    // Asks the other half; the answer comes as a promise, a refusal as an Error with plain words.
    ask(what, args = {}) {
      const id = ++this.kept.count;
      return new Promise((resolve, reject) => {
        this.kept.asked.set(id, { resolve, reject, at: Date.now() });
        this.$emit("ask", { id, what, args });
      });
    },
    answer(id, result, problem) {
      const asked = this.kept.asked.get(id);
      this.kept.asked.delete(id);
      if (!asked) return;
      if (problem) asked.reject(new Error(problem));
      else asked.resolve(result);
    },
    second() {
      this.now = Date.now();
      this.forget(this.now - ANSWER_MS);
    },
    // What was asked before that is answered no more: the connection broke, or something got lost.
    forget(before = Infinity) {
      for (const [id, { reject, at }] of [...this.kept.asked])
        if (at < before) {
          this.kept.asked.delete(id);
          reject(new Error(LOST));
        }
    },
    // Something may have been told that was not heard.
    on_anew() {
      this.connected();
    },
    take(what, data) {
      this.heardAt = this.now = Date.now();
      this[`on_${what}`]?.(data);
    },
    // The connection is there, or there again: what was told meanwhile is lost.
    connected() {},
  },
};

export function rate(kbps) {
  if (kbps === null || kbps === undefined) return "–";
  if (kbps < 1000) return `${kbps} kb/s`;
  return `${(kbps / 1000).toFixed(kbps < 9950 ? 2 : 1)} Mb/s`;
}

export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

const clock = new Intl.DateTimeFormat([], {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat([], { weekday: "short", day: "numeric", month: "short" });

export const time = (ms) => clock.format(ms);

export const moment = (ms) => `${day.format(ms)} ${clock.format(ms)}`;

// The path of a small chart: "" where nothing is known. A gap stays a gap.
export function line(values, max, width, height, points) {
  const step = width / (points - 1);
  const begin = width - (values.length - 1) * step;
  let path = "";
  let pen = "M";
  values.forEach((value, at) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const y = height - (Math.min(value, max) / max) * height;
    path += `${pen}${(begin + at * step).toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  });
  return path;
}
