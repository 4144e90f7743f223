// The wall: only the rows on the screen are there, and only they are asked for.
import "/look/once.js"; // a key that was not taken up again is forgotten
import panel, { line, rate, span } from "/look/panel.js";

const POINTS = 120;
const WIDTH = 160;
const HEIGHT = 40;
const AHEAD = 2; // rows above and below the screen
const PICTURES_AT_ONCE = 2;
const PICTURE_EACH_MS = 8000;

const GROUPS = [
  { key: "", count: "all", text: "All" },
  { key: "trouble", count: "trouble", text: "Trouble" },
  { key: "fine", count: "fine", text: "On the air" },
  { key: "waiting", count: "waiting", text: "Waiting" },
];

export default {
  mixins: [panel],
  inheritAttrs: false, // its id is that of the content
  props: { mayOperate: Boolean },
  emits: ["ask"],
  data: () => ({
    groups: GROUPS,
    tone: "",
    search: "",
    order: null,
    counts: null,
    seen: true,
    whole: false,
    first: 0,
    count: 0,
    row: 112,
    heads: {},
    numbers: {},
    points: {},
    pictures: {},
    problem: "",
  }),
  computed: {
    shown() {
      const ids = (this.order ?? []).slice(this.first, this.first + this.count);
      return ids
        .map((id, at) => ({ id, at: this.first + at, head: this.heads[id] }))
        .filter(({ head }) => head);
    },
  },
  created() {
    this.own = { fetched: new Map(), fetching: 0 };
  },
  mounted() {
    const narrow = matchMedia("(max-width: 760px)");
    const measure = () => {
      this.row = narrow.matches ? 284 : 112;
      this.place();
    };
    narrow.addEventListener("change", measure);
    this.own.forget = () => narrow.removeEventListener("change", measure);
    addEventListener("scroll", this.place, { passive: true });
    addEventListener("resize", this.place, { passive: true });
    measure();
    this.own.paint = setInterval(() => this.fetchPictures(), 1000);
  },
  unmounted() {
    this.own.forget();
    clearTimeout(this.own.typing);
    removeEventListener("scroll", this.place);
    removeEventListener("resize", this.place);
    clearInterval(this.own.paint);
    Object.values(this.pictures).forEach((url) => URL.revokeObjectURL(url));
  },
  watch: {
    tone() {
      this.look(true);
    },
    search() {
      clearTimeout(this.own.typing);
      this.own.typing = setTimeout(() => this.look(true), 200);
    },
  },
  methods: {
    rate,
    connected() {
      this.look(true);
    },
    place() {
      const top = this.$refs.list?.getBoundingClientRect().top ?? 0;
      const first = Math.max(0, Math.floor(-top / this.row) - AHEAD);
      const count = Math.ceil(innerHeight / this.row) + 2 * AHEAD;
      if (first === this.first && count === this.count) return;
      [this.first, this.count] = [first, count];
      this.look();
    },
    async look(anew = false) {
      const { first, count, tone, search } = this;
      if (!count) return;
      try {
        const told = await this.ask("look", { first, count, tone, search, anew });
        if (told) this.take("rows", told);
      } catch (problem) {
        this.problem = problem.message;
      }
    },
    // A second has passed: each chart goes on by a point.
    on_tick(told) {
      this.on_rows(told);
      for (const [id, { in: coming, out: going }] of Object.entries(told.numbers))
        if (!(id in told.points))
          this.points[id] = [...(this.points[id] ?? []), [coming, going]].slice(-POINTS);
    },
    on_rows(told) {
      this.counts = told.counts;
      this.seen = told.seen;
      this.whole = told.whole;
      this.ahead = told.at - Date.now();
      const [first, count] = told.rows;
      // It does not know which rows are shown: what was asked last has got lost.
      if (first !== this.first || count !== this.count) this.look();
      if (told.order) {
        this.order = told.order;
        this.$nextTick(this.place);
      }
      for (const head of told.heads) this.heads[head.id] = head;
      for (const [id, points] of Object.entries(told.points)) this.points[id] = points;
      for (const [id, numbers] of Object.entries(told.numbers)) this.numbers[id] = numbers;
    },
    age(head) {
      return span((head.ended ?? this.now + this.ahead) - head.begun);
    },
    chart(id) {
      const points = this.points[id] ?? [];
      const max = Math.max(1000, ...points.flat().filter((value) => value !== null)) * 1.1;
      const draw = (which) => line(points.map((each) => each[which]), max, WIDTH, HEIGHT, POINTS);
      return { in: draw(0), out: draw(1) };
    },
    // Pictures of what is on the screen, the oldest first, two at once.
    async fetchPictures() {
      if (document.hidden || this.silence) return;
      const { fetched } = this.own;
      const due = this.shown
        .filter(({ id, head }) => head.picture && Date.now() - (fetched.get(id) ?? 0) > PICTURE_EACH_MS)
        .sort((a, b) => (fetched.get(a.id) ?? 0) - (fetched.get(b.id) ?? 0));
      for (const { id } of due) {
        if (this.own.fetching >= PICTURES_AT_ONCE) return;
        fetched.set(id, Date.now());
        this.fetchPicture(id);
      }
    },
    async fetchPicture(id) {
      this.own.fetching++;
      try {
        const answer = await fetch(`/pictures/${id}.jpg`);
        const url = answer.ok ? URL.createObjectURL(await answer.blob()) : null;
        if (this.pictures[id]) URL.revokeObjectURL(this.pictures[id]);
        if (url) this.pictures[id] = url;
        else delete this.pictures[id];
      } catch {
        // the next second tries again
      } finally {
        this.own.fetching--;
      }
    },
  },
  template: `
    <section class="wall" id="content" tabindex="-1">
      <div class="bar">
        <h1>On the air</h1>
        <div class="groups" role="group" aria-label="Which broadcasts to show">
          <button v-for="group in groups" :key="group.key" type="button"
            :class="['group', group.key, { some: counts?.[group.count] }]"
            :aria-pressed="tone === group.key" @click="tone = group.key">
            {{ group.text }} <b>{{ counts ? counts[group.count] : "–" }}</b></button>
        </div>
        <input v-model="search" class="search" type="search" placeholder="Find by name"
          aria-label="Find a broadcast by its name">
        <a v-if="mayOperate" class="button main" href="/start">Start a broadcast</a>
      </div>
      <p v-if="problem" class="problem" role="alert">{{ problem }}</p>
      <p v-if="!seen" class="silence" role="alert">The host does not answer. Broadcasts most likely
        go on, but nobody can see how they are or change them. Look at the host:
        <code>systemctl status strata-host</code>.</p>
      <p v-if="!order || (!order.length && !whole)" class="nothing">One moment …</p>
      <p v-else-if="!order.length" class="nothing">{{ tone || search
        ? "No broadcast is like that right now."
        : "Nothing is on the air. A broadcast that is started appears here at once." }}</p>
      <div ref="list" class="list" role="list" :style="{ height: (order?.length ?? 0) * row + 'px' }">
        <article v-for="{ id, at, head } in shown" :key="id" role="listitem"
          :class="['stream', head.tone]" :aria-setsize="order.length" :aria-posinset="at + 1"
          :style="{ transform: 'translateY(' + at * row + 'px)' }">
          <div class="picture">
            <img v-if="head.picture && pictures[id]" :src="pictures[id]" alt="">
            <span v-else>{{ head.picture ? "" : "No picture" }}</span>
          </div>
          <div class="what">
            <h2><a :href="'/streams/' + id">{{ head.name }}</a></h2>
            <p class="said"><span :class="['state', head.tone]">{{ head.word }}</span>
              <span class="age">{{ age(head) }}</span>
              <span class="media">{{ head.media }}</span></p>
            <p class="why" v-if="head.troubles.length" :title="head.troubles[0].detail">
              <b>{{ head.troubles[0].title }}.</b> {{ head.troubles[0].means }}
              {{ head.troubles.length + head.more > 1
                ? "And " + (head.troubles.length + head.more - 1) + " more." : "" }}</p>
            <p class="why" v-else-if="head.note">{{ head.note }}</p>
          </div>
          <div class="rates">
            <svg viewBox="0 0 160 40" preserveAspectRatio="none" aria-hidden="true">
              <path class="out" :d="chart(id).out"/><path class="in" :d="chart(id).in"/></svg>
            <p><span class="in">in <b>{{ rate(numbers[id]?.in) }}</b></span>
              <span class="out">out <b>{{ rate(numbers[id]?.out) }}</b></span></p>
          </div>
          <table class="links" v-if="numbers[id]?.links.length">
            <caption class="hidden">Links of {{ head.name }}</caption>
            <thead class="hidden"><tr><th scope="col">Link</th><th scope="col">State</th>
              <th scope="col">Share</th><th scope="col">Round trip</th>
              <th scope="col">Last packet</th></tr></thead>
            <tbody><tr v-for="link in numbers[id].links.slice(0, 3)" :key="link.port">
              <th scope="row">{{ link.name ?? link.port }}</th>
              <td :class="['state', link.tone]">{{ link.word }}</td>
              <td>{{ link.share }} %</td>
              <td>{{ link.rtt === null ? "–" : link.rtt + " ms" }}</td>
              <td>{{ link.age === null ? "never" : link.age + " s ago" }}</td>
            </tr></tbody>
          </table>
          <p class="links none" v-else>No links yet</p>
          <ul class="forwards" :aria-label="'Destinations of ' + head.name">
            <li v-for="forward in head.forwards.slice(0, 3)" :key="forward.id"
              :title="forward.message"><span class="to">{{ forward.name }}</span>
              <span :class="['state', forward.tone]">{{ forward.word }}</span></li>
            <li v-if="head.forwards.length > 3">and {{ head.forwards.length - 3 }} more</li>
          </ul>
        </article>
      </div>
    </section>`,
};
