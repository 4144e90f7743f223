// What stands above each page: where one is, who one is, and what is wrong anywhere.
import "/look/once.js"; // a page that shows nothing once forgets what another did
import panel, { span } from "/look/panel.js";

const PAGES = [
  { key: "wall", href: "/", text: "On the air" },
  { key: "start", href: "/start", text: "Start", role: "operator" },
  { key: "alerts", href: "/alerts", text: "Alerts" },
  { key: "past", href: "/past", text: "Past" },
  { key: "senders", href: "/senders", text: "Senders" },
  { key: "destinations", href: "/destinations", text: "Destinations" },
  { key: "hosts", href: "/hosts", text: "Hosts" },
  { key: "people", href: "/people", text: "People" },
  { key: "events", href: "/events", text: "Events" },
  { key: "settings", href: "/settings", text: "Settings", role: "admin" },
];

const ROLES = {
  viewer: "You are a viewer: you see what is going on, and change nothing.",
  operator: "You are an operator: you start, change and stop broadcasts.",
  admin: "You are an administrator: you see and change everything.",
};

const AGAIN_MS = 30000; // while nobody has seen it

const kept = (name, value) => {
  try {
    if (value === undefined) return localStorage.getItem(name);
    localStorage.setItem(name, value);
  } catch {
    return null; // a browser that keeps nothing
  }
};

export default {
  mixins: [panel],
  props: { here: String, email: String, role: String },
  emits: ["ask"],
  data: () => ({
    roles: ROLES,
    theme: document.documentElement.dataset.theme,
    alerts: [],
    problem: "",
    away: false,
    muted: kept("strata-muted") === "yes",
    notices: "Notification" in window ? Notification.permission : "denied",
    blocked: false,
    speaks: !navigator.locks, // of several tabs one makes the sounds
  }),
  computed: {
    pages() {
      const may = { operator: this.role !== "viewer", admin: this.role === "admin" };
      return PAGES.filter((page) => !page.role || may[page.role]);
    },
    // What nobody has seen yet, and viewers would notice.
    urgent() {
      return this.alerts.filter((alert) => alert.grave && !alert.acked);
    },
  },
  created() {
    this.left = new AbortController();
    this.told = [];
  },
  mounted() {
    this.$el.parentElement
      ?.querySelector("[aria-current]")
      ?.scrollIntoView({ inline: "center", block: "nearest" });
    addEventListener("strata-theme", this.dress);
    navigator.locks?.request("strata-sound", { signal: this.left.signal }, () => {
      this.speaks = true;
      return new Promise((over) => this.left.signal.addEventListener("abort", over));
    }).catch(() => {}); // the page was left before its turn came
    this.sounding = setInterval(() => this.urgent.length && this.sound(), AGAIN_MS);
  },
  unmounted() {
    clearInterval(this.sounding);
    removeEventListener("strata-theme", this.dress);
    this.left.abort();
  },
  methods: {
    span,
    async connected() {
      const told = (this.told = []); // while the answer is on its way
      try {
        this.alerts = await this.ask("standing");
        told.forEach(this.put);
        this.problem = "";
      } catch (problem) {
        this.problem = problem.message;
      }
    },
    on_tick({ away }) {
      this.away = away;
    },
    put(alert) {
      const others = this.alerts.filter((each) => each.id !== alert.id);
      this.alerts = alert.cleared ? others : [alert, ...others];
    },
    on_alert(alert) {
      const known = this.alerts.find((each) => each.id === alert.id);
      this.told.push(alert);
      this.put(alert);
      if (known || !alert.grave || alert.cleared) return;
      this.sound();
      this.notify(alert);
    },
    notify(alert) {
      if (this.notices !== "granted" || !document.hidden) return;
      const notice = new Notification(`${alert.name}: ${alert.title}`, {
        body: `${alert.means} ${alert.do}`,
        tag: alert.id,
        icon: "/look/icon.svg",
      });
      notice.onclick = () => {
        focus();
        if (alert.subject) location.href = `/streams/${alert.subject}`;
      };
    },
    // Two short tones. A browser lets a page sound only once somebody has touched it.
    sound() {
      if (this.muted || !this.speaks) return;
      this.audio ??= new AudioContext();
      const audio = this.audio;
      this.blocked = audio.state === "suspended";
      if (this.blocked) {
        audio.resume().then(() => (this.blocked = false));
        return;
      }
      [660, 880].forEach((pitch, at) => {
        const tone = audio.createOscillator();
        const loud = audio.createGain();
        const from = audio.currentTime + at * 0.22;
        tone.frequency.value = pitch;
        loud.gain.setValueAtTime(0.0001, from);
        loud.gain.exponentialRampToValueAtTime(0.25, from + 0.02);
        loud.gain.exponentialRampToValueAtTime(0.0001, from + 0.2);
        tone.connect(loud).connect(audio.destination);
        tone.start(from);
        tone.stop(from + 0.21);
      });
    },
    mute() {
      this.muted = !this.muted;
      kept("strata-muted", this.muted ? "yes" : "no");
      if (!this.muted) this.sound();
    },
    async allow() {
      this.notices = await Notification.requestPermission();
    },
    async ack(alert) {
      try {
        this.on_alert(await this.ask("ack", { id: alert.id }));
        this.problem = "";
      } catch (problem) {
        this.problem = problem.message;
      }
    },
    turn() {
      window.strataTheme();
    },
    dress() {
      this.theme = document.documentElement.dataset.theme;
    },
  },
  template: `
    <header class="shell">
      <a class="skip" href="#content">Skip to the content</a>
      <a class="brand" href="/"><img src="/look/icon.svg" alt="" width="24" height="24">Strata</a>
      <nav aria-label="Pages">
        <a v-for="page in pages" :key="page.key" :href="page.href"
          :aria-current="page.key === here ? 'page' : null">{{ page.text }}
          <b v-if="page.key === 'alerts' && alerts.length" :class="['count', { loud: urgent.length }]">
            {{ alerts.length }}</b></a>
      </nav>
      <div class="who">
        <button class="button quiet" type="button" :aria-pressed="muted" @click="mute">
          {{ muted ? "Sound is off" : "Sound is on" }}</button>
        <button class="button quiet" type="button" @click="turn">
          {{ theme === "dark" ? "Light" : "Dark" }}<span class="wide">&nbsp;look</span></button>
        <details>
          <summary>{{ email }}</summary>
          <div class="menu">
            <p>{{ roles[role] }}</p>
            <button v-if="notices === 'default'" class="button" type="button" @click="allow">
              Tell me of alerts when I look elsewhere</button>
            <form method="post" action="/logout">
              <button class="button" type="submit">Log out</button></form>
          </div>
        </details>
      </div>
    </header>
    <div v-if="silence" class="silence" role="alert">
      No news from the control plane for {{ silence }} s. What is on the air goes on without it;
      what this page shows may no longer hold.
    </div>
    <div v-else-if="away" class="silence" role="alert">
      The database does not answer. What is on the air goes on; nothing can be started or changed,
      and what happens now is shown late or not at all. Look at the database and its disk.
    </div>
    <div v-if="urgent.length" class="urgent" role="alert">
      <p><b>{{ urgent[0].name }}: {{ urgent[0].title }}.</b> {{ urgent[0].do }}
        <span v-if="urgent.length > 1"> And {{ urgent.length - 1 }} more.</span></p>
      <a v-if="urgent[0].subject" class="button" :href="'/streams/' + urgent[0].subject">Look</a>
      <button v-if="role !== 'viewer'" class="button" type="button" @click="ack(urgent[0])">
        I have seen it</button>
    </div>
    <p v-if="blocked" class="hint">The browser keeps this page silent until you click on it once.</p>
    <p v-if="problem" class="problem" role="alert">{{ problem }}</p>`,
};
