// One stream: how it is, how it was, and what can be done with it.
import chart, { COLOURS } from "/look/chart.js";
import panel, { moment, rate, span, time } from "/look/panel.js";
import player from "/look/player.js";

const RANGES = [
  { key: 300, text: "5 min" },
  { key: 3600, text: "1 h" },
  { key: 0, text: "All" },
];
const POINTS_MAX = 6000;
const PICTURE_EACH_MS = 5000;

const takes = ({ live }) => (live ? " and takes the picture." : ". It does not take the picture yet: see its state.");

const mega = (value) => (value === null || value === undefined ? null : value / 1000);

export default {
  mixins: [panel],
  inheritAttrs: false, // its id is that of the content
  components: { chart, player },
  props: { mayOperate: Boolean },
  emits: ["ask"],
  data: () => ({
    ranges: RANGES,
    range: 300,
    cursor: null,
    told: null,
    points: [],
    events: [],
    picture: null,
    watching: "",
    problem: "",
    done: "",
    busy: "",
    aim: { what: "", forward: null, url: "", destination: "" },
    choices: [],
  }),
  computed: {
    head() {
      return this.told.head;
    },
    to() {
      return this.head.ended ?? Math.max(this.points.at(-1)?.at ?? 0, this.now + this.ahead);
    },
    from() {
      return this.range ? Math.max(this.to - this.range * 1000, this.head.begun) : this.head.begun;
    },
    ports() {
      const found = new Set();
      for (const point of this.points) Object.keys(point.links).forEach((port) => found.add(port));
      return [...found].sort((a, b) => a - b);
    },
    ways() {
      return Object.fromEntries(this.told.numbers.links.map((link) => [link.port, link.name ?? link.port]));
    },
    charts() {
      const links = (of) =>
        this.ports.map((port, at) => ({
          key: port,
          text: this.ways[port] ?? port,
          colour: COLOURS[at % COLOURS.length],
          of: (point) => of(point.links[port]),
        }));
      const line = (key, text, colour, of = (point) => point[key]) => ({ key, text, colour, of });
      return [
        {
          title: "Bitrate",
          unit: "Mb/s",
          digits: 2,
          lines: [
            line("in", "In", COLOURS[0], (point) => mega(point.in)),
            line("out", "Out, all destinations", COLOURS[1], (point) => mega(point.out)),
          ],
        },
        {
          title: "Bitrate of each link",
          unit: "Mb/s",
          digits: 2,
          stacked: true,
          lines: links((link) => mega(link?.[0])),
        },
        { title: "Round trip of each link", unit: "ms", atLeast: 50, lines: links((link) => link?.[1] ?? null) },
        {
          title: "Packets lost and recovered",
          unit: "%",
          digits: 2,
          lines: [
            line("lost", "Lost for good", COLOURS[4]),
            line("recovered", "Recovered in time", COLOURS[2]),
          ],
        },
        {
          title: "Time in the recovery buffer",
          unit: "ms",
          atLeast: 100,
          lines: [line("buffer", "Buffer", COLOURS[3])],
        },
      ];
    },
    shownEvents() {
      return [...this.events].reverse();
    },
  },
  mounted() {
    this.painting = setInterval(() => this.paint(), PICTURE_EACH_MS);
  },
  unmounted() {
    clearInterval(this.painting);
    if (this.picture) URL.revokeObjectURL(this.picture);
  },
  methods: {
    moment,
    rate,
    span,
    time,
    async connected() {
      try {
        const told = await this.ask("look");
        this.points = told.points;
        this.events = told.events;
        this.told = told;
        this.problem = "";
        document.title = `${told.head.name} · Strata`;
        this.paint();
      } catch (problem) {
        this.problem = problem.message;
      }
    },
    on_tick(told) {
      if (!this.told || told.gone) {
        this.connected();
        return;
      }
      this.ahead = told.at - Date.now();
      this.told = { ...this.told, ...told };
      if (told.point) this.points = [...this.points, told.point].slice(-POINTS_MAX);
    },
    on_event(event) {
      if (!this.events.some((each) => each.id === event.id)) this.events = [...this.events, event];
    },
    async paint() {
      if (!this.told?.head.picture || document.hidden || this.silence) {
        if (this.told && !this.told.head.picture) this.picture = null;
        return;
      }
      try {
        const answer = await fetch(`/pictures/${this.head.id}.jpg`);
        const url = answer.status === 200 ? URL.createObjectURL(await answer.blob()) : null;
        if (this.picture) URL.revokeObjectURL(this.picture);
        this.picture = url;
      } catch {
        // the next one tries again
      }
    },
    watch() {
      this.watching = this.watching ? "" : `/watch/${this.head.id}/index.m3u8`;
      this.problem = "";
    },
    unwatchable() {
      if (!this.watching) return;
      this.watching = "";
      this.problem =
        "The preview cannot be played right now. It is there some seconds after the picture; a " +
        "browser that cannot show H.265 shows none of it.";
    },
    age() {
      return span((this.head.ended ?? this.now + this.ahead) - this.head.begun);
    },
    // Asks, and says on the page what came of it.
    async act(what, args, busy, done) {
      [this.problem, this.done, this.busy] = ["", "", busy];
      try {
        const result = await this.ask(what, args);
        this.done = done(result);
        return true;
      } catch (problem) {
        this.problem = problem.message;
        return false;
      } finally {
        this.busy = "";
      }
    },
    async open(what, forward = null) {
      this.aim = { what, forward, url: "", destination: "" };
      [this.problem, this.done] = ["", ""];
      this.$refs.aim.showModal();
      try {
        this.choices = await this.ask("choices");
      } catch (problem) {
        this.problem = problem.message;
      }
    },
    async aimIt() {
      const { what, forward, url, destination } = this.aim;
      const args = { forward: forward?.id, url: destination ? "" : url, destination };
      const said = (result) =>
        what === "add"
          ? `${result.name} was added${takes(result)}`
          : `${result.name} has taken the place of ${forward.name}${takes(result)}` +
            (result.overlap === false ? " The old one had to be closed first." : "");
      const busy = "Connecting; what is on the air stays as it is until this one takes the picture …";
      if (await this.act(what, args, busy, said)) this.$refs.aim.close();
    },
    async test() {
      const destination = this.aim.destination;
      const busy = "Sending ten seconds of colour bars …";
      await this.act("test", { destination }, busy, (told) => told.message);
    },
    async remove() {
      const { forward } = this.aim;
      const args = { forward: forward.id };
      this.$refs.sure.close();
      await this.act("remove", args, "Closing it …", () => `${forward.name} was removed.`);
    },
    sure(what, forward = null) {
      this.aim = { what, forward, url: "", destination: "" };
      this.$refs.sure.showModal();
    },
    async stop() {
      this.$refs.sure.close();
      await this.act("stop", {}, "Stopping it and closing each destination …", () => "It has ended.");
      await this.connected();
    },
    async slate() {
      const now = !this.told.slateHeld;
      const said = now ? "The slate goes on the air." : "The picture comes back.";
      await this.act("slate", { now }, "Asking for it …", () => said);
    },
    async copy(text) {
      try {
        await navigator.clipboard.writeText(text);
        this.done = "Copied.";
      } catch {
        this.problem = "The browser does not let this page copy; select the text and copy it by hand.";
      }
    },
  },
  template: `
    <section class="one" id="content" tabindex="-1">
      <p v-if="!told" class="nothing">{{ problem || "One moment …" }}</p>
      <template v-else>
        <div class="bar">
          <h1>{{ head.name }}</h1>
          <p class="said"><span :class="['state', head.tone]">{{ head.word }}</span>
            <span class="age">{{ age() }}</span><span class="media">{{ head.media }}</span></p>
          <div class="acts" v-if="mayOperate && told.runs">
            <button class="button" type="button" :disabled="!!busy" @click="slate">
              {{ told.slateHeld ? "Take the slate off" : "Show the slate" }}</button>
            <button class="button stop" type="button" @click="sure('stop')">
              Stop the broadcast</button>
          </div>
        </div>
        <div role="status" class="outcome">
          <p v-if="busy">{{ busy }}</p><p v-if="done" class="done">{{ done }}</p></div>
        <p v-if="problem" class="problem" role="alert">{{ problem }}</p>

        <div class="top">
          <div><div class="picture big"><player v-if="watching" :src="watching"
              :label="'The preview of ' + head.name" @unplayable="unwatchable"/>
            <img v-else-if="head.picture && picture" :src="picture"
              :alt="'What is on the air now, of ' + head.name">
            <span v-else>{{ head.picture ? "" : "Nothing to be seen" }}</span></div>
            <button v-if="told.preview && told.runs" class="button" type="button" @click="watch">
              {{ watching ? "Show pictures instead" : "Watch the preview" }}</button></div>
          <div class="now">
            <ul class="troubles" v-if="head.troubles.length" aria-label="What is wrong">
              <li v-for="(each, at) in head.troubles" :key="at" :class="each.grave ? 'bad' : 'warn'">
                <b>{{ each.title }}.</b> {{ each.means }} <em>{{ each.do }}</em>
                <span class="detail">{{ each.detail }}</span></li>
              <li v-if="head.more">And {{ head.more }} more; the events below tell of them.</li>
            </ul>
            <p v-else-if="head.note" class="note">{{ head.note }}</p>
            <p v-else-if="head.tone === 'good' && !silence" class="note">All is as it should be.</p>
            <dl class="facts">
              <div><dt>In</dt><dd>{{ rate(told.numbers.in) }}</dd></div>
              <div><dt>Out</dt><dd>{{ rate(told.numbers.out) }}</dd></div>
              <div><dt>Buffer</dt><dd>{{ told.buffer === null ? "–" : told.buffer + " ms" }}</dd></div>
              <div><dt>Arrived whole</dt><dd>{{ told.quality === null ? "–" : told.quality + " %" }}</dd></div>
              <div><dt>Started</dt><dd>{{ moment(head.begun) }}</dd></div>
              <div v-if="head.ended"><dt>Ended</dt><dd>{{ moment(head.ended) }}</dd></div>
            </dl>
          </div>
        </div>

        <div class="pair">
          <section aria-labelledby="links"><h2 id="links">Links</h2>
            <div class="scroll" tabindex="0" role="group" aria-label="Table of links"><table class="links-now" v-if="told.numbers.links.length">
              <thead><tr><th scope="col">Link</th><th scope="col">State</th><th scope="col">Share</th>
                <th scope="col">Bitrate</th><th scope="col">Round trip</th>
                <th scope="col">Last packet</th></tr></thead>
              <tbody><tr v-for="link in told.numbers.links" :key="link.port">
                <th scope="row">{{ link.name ?? link.port }}
                  <small v-if="link.name">port {{ link.port }}</small></th>
                <td :class="['state', link.tone]">{{ link.word }}</td><td>{{ link.share }} %</td>
                <td>{{ rate(link.kbps) }}</td>
                <td>{{ link.rtt === null ? "–" : link.rtt + " ms" }}</td>
                <td>{{ link.age === null ? "never" : link.age + " s ago" }}</td></tr></tbody>
            </table></div>
            <p v-if="!told.numbers.links.length" class="note">{{ told.runs
              ? "No link has brought anything yet." : "It does not run." }}</p>
          </section>
          <section aria-labelledby="forwards"><h2 id="forwards">Destinations</h2>
            <div class="scroll" tabindex="0" role="group"
              aria-label="Table of destinations"><table v-if="head.forwards.length" class="cards" role="table">
              <thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Where</th>
                <th scope="col" role="columnheader">State</th>
                <th scope="col" role="columnheader">Bitrate</th>
                <th scope="col" role="columnheader">Connected anew</th>
                <th scope="col" role="columnheader">Pictures left out</th>
                <th scope="col" role="columnheader" v-if="mayOperate && told.runs">
                  <span class="hidden">Change</span></th>
              </tr></thead>
              <tbody role="rowgroup"><template v-for="forward in head.forwards" :key="forward.id">
                <tr role="row">
                <th scope="row" role="rowheader" data-what="Where">{{ forward.name }}</th>
                <td role="cell" data-what="State" :class="['state', forward.tone]">{{ forward.word }}</td>
                <td role="cell" data-what="Bitrate">{{ rate(forward.kbps) }}</td>
                <td role="cell" data-what="Connected anew">{{ forward.reconnects ?? "–" }}</td>
                <td role="cell" data-what="Pictures left out">{{ forward.dropped ?? "–" }}</td>
                <td v-if="mayOperate && told.runs" class="do" role="cell">
                  <button class="button" type="button" :disabled="!!busy"
                    :aria-label="'Replace ' + forward.name" @click="open('replace', forward)">Replace</button>
                  <button class="button" type="button" :disabled="!!busy"
                    :aria-label="'Remove ' + forward.name" @click="sure('remove', forward)">Remove</button>
                </td></tr>
                <tr v-if="forward.message && forward.tone !== 'good'" class="more" role="row">
                  <td colspan="6" role="cell">{{ forward.message }}</td></tr></template></tbody>
            </table></div>
            <p v-if="!head.forwards.length" class="note">It leads nowhere.</p>
            <button v-if="mayOperate && told.runs" class="button" type="button" :disabled="!!busy"
              @click="open('add')">Add a destination</button>
          </section>
        </div>

        <section aria-labelledby="over"><div class="bar"><h2 id="over">Over time</h2>
          <div class="groups" role="group" aria-label="How far back">
            <button v-for="each in ranges" :key="each.key" type="button" class="group"
              :aria-pressed="range === each.key" @click="range = each.key">{{ each.text }}</button>
          </div></div>
          <div class="charts"><chart v-for="each in charts" :key="each.title" v-bind="each"
            :points="points" :from="from" :to="to" :cursor="cursor" @cursor="cursor = $event"/></div>
        </section>

        <section v-if="!told.sender && told.runs" aria-labelledby="encoder">
          <h2 id="encoder">For the encoder</h2>
          <p class="note">Any RIST encoder (main profile) may send, one link to each address. The key
            was shown once, when the broadcast was started.</p>
          <ul class="addresses"><li v-for="address in told.addresses" :key="address">
            <code>{{ address }}</code> <button class="button" type="button"
              :aria-label="'Copy ' + address" @click="copy(address)">Copy</button></li></ul>
        </section>

        <section aria-labelledby="events"><h2 id="events">What happened</h2>
          <ol class="events"><li v-for="event in shownEvents" :key="event.id">
            <time :datetime="new Date(event.at).toISOString()">{{ moment(event.at) }}</time>
            <span :class="['mark', event.tone]" aria-hidden="true"></span>
            <span>{{ event.text }}<i v-if="event.by"> by {{ event.by }}</i></span></li></ol>
        </section>

        <dialog ref="aim" aria-labelledby="aim-title" @close="aim.url = ''">
          <form method="dialog" @submit.prevent="aimIt">
            <h2 id="aim-title">{{ aim.what === "add" ? "Add a destination"
              : "Replace " + (aim.forward?.name ?? "") }}</h2>
            <p class="note">{{ aim.what === "add"
              ? "The other destinations are not affected."
              : "The old one stays on the air until the new one takes the picture." }}</p>
            <label for="aim-choice">Destination</label>
            <select id="aim-choice" v-model="aim.destination">
              <option value="">An address of its own</option>
              <option v-for="each in choices" :key="each.id" :value="each.id">{{ each.name }}</option>
            </select>
            <template v-if="!aim.destination">
              <label for="aim-url">Address, with its key</label>
              <input id="aim-url" v-model="aim.url" type="text" autocomplete="off" spellcheck="false"
                placeholder="rtmp://a.rtmp.youtube.com/live2/KEY" maxlength="2048" required>
            </template>
            <p v-if="busy" class="note">{{ busy }}</p>
            <p v-if="problem" class="problem" role="alert">{{ problem }}</p>
            <p v-if="done" class="note">{{ done }}</p>
            <div class="acts">
              <button v-if="aim.destination" class="button" type="button" :disabled="!!busy"
                @click="test">Test it with colour bars</button>
              <button class="button" type="button" @click="$refs.aim.close()">Cancel</button>
              <button class="button main" type="submit" :disabled="!!busy">{{ aim.what === "add"
                ? "Add" : "Replace" }}</button></div>
          </form>
        </dialog>

        <dialog ref="sure" aria-labelledby="sure-title">
          <h2 id="sure-title">{{ aim.what === "stop" ? "Stop " + head.name + "?"
            : "Remove " + (aim.forward?.name ?? "") + "?" }}</h2>
          <p>{{ aim.what === "stop"
            ? "Viewers see the end at once, on every destination. A platform may close the session for good."
            : "Viewers there see the end at once. The other destinations are not affected." }}</p>
          <div class="acts">
            <button class="button" type="button" autofocus @click="$refs.sure.close()">
              Keep it on the air</button>
            <button class="button stop" type="button" @click="aim.what === 'stop' ? stop() : remove()">
              {{ aim.what === "stop" ? "Stop the broadcast" : "Remove it" }}</button></div>
        </dialog>
      </template>
    </section>`,
};
