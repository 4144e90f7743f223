// Charts over time on a canvas: lines, or areas that stand on one another. A hole stays a hole.

const MARGIN = { left: 54, right: 10, top: 8, bottom: 22 };
const HEIGHT = 170;

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const exact = new Intl.DateTimeFormat([], {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});

export const COLOURS = ["#4c9bf0", "#e8963a", "#3fbf8a", "#b184f0", "#e56b9f", "#b5a642", "#49b8c9", "#d0785a"];

function nice(max) {
  const power = 10 ** Math.floor(Math.log10(max));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= max) ?? max;
}

const GAP_MS = 3000;
const GAP_TIMES = 3; // the usual distance
const NEIGHBOURS = 5;
const OLD_MS = 5000;
const NEAR_MS = 60000; // clocks of people are off by less

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1] ?? 0;

// Which of these points do not follow on the one before: much later than others around them, of
// which older ones may be further apart.
export function apart(times) {
  const found = new Set();
  const steps = times.map((at, index) => at - (times[index - 1] ?? at));
  steps.forEach((step, index) => {
    if (step <= GAP_MS) return;
    const usual = Math.max(
      median(steps.slice(Math.max(1, index - NEIGHBOURS), index)),
      median(steps.slice(index + 1, index + 1 + NEIGHBOURS)),
    );
    if (step > GAP_TIMES * usual) found.add(index);
  });
  return found;
}

const STEPS_S = [5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400];

export default {
  props: {
    title: String,
    unit: String,
    points: Array, // each with "at"
    lines: Array, // {key, text, colour, of(point)}
    stacked: Boolean,
    from: Number,
    to: Number,
    cursor: { type: Number, default: null },
    digits: { type: Number, default: 0 },
    atLeast: { type: Number, default: 1 },
  },
  emits: ["cursor"],
  data() {
    return { goesOn: Math.abs(Date.now() - this.to) < NEAR_MS };
  },
  computed: {
    shown() {
      return this.points.filter((point) => point.at >= this.from && point.at <= this.to);
    },
    picked() {
      if (this.cursor === null) return this.shown.at(-1) ?? null;
      let best = null;
      for (const point of this.shown)
        if (!best || Math.abs(point.at - this.cursor) < Math.abs(best.at - this.cursor)) best = point;
      return best;
    },
    told() {
      return this.lines.map((line) => ({ ...line, value: this.picked ? line.of(this.picked) : null }));
    },
    when() {
      if (!this.picked) return "now";
      const isNow = this.cursor === null && this.goesOn && this.to - this.picked.at < OLD_MS;
      return isNow ? "now" : exact.format(this.picked.at);
    },
    summary() {
      const values = this.told.map((each) => `${each.text} ${this.text(each.value)}`);
      return `${this.title}, ${this.when}: ${values.join(", ") || "nothing known"}`;
    },
  },
  watch: {
    shown: "draw",
    cursor: "draw",
    to() {
      this.follow();
    },
  },
  mounted() {
    this.follow();
    this.own = {
      size: new ResizeObserver(() => this.draw()),
      look: new MutationObserver(() => this.draw()),
    };
    this.own.size.observe(this.$refs.canvas);
    this.own.look.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  },
  unmounted() {
    clearTimeout(this.still);
    this.own.size.disconnect();
    this.own.look.disconnect();
  },
  methods: {
    // The end of the time that is shown moves on while there is a now.
    follow() {
      if (this.still) this.goesOn = true;
      clearTimeout(this.still);
      this.still = setTimeout(() => (this.goesOn = false), OLD_MS);
    },
    text(value) {
      return value === null || value === undefined ? "–" : `${value.toFixed(this.digits)} ${this.unit}`;
    },
    move(event) {
      const box = this.$refs.canvas.getBoundingClientRect();
      const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
      this.$emit("cursor", share < 0 || share > 1 ? null : this.from + share * (this.to - this.from));
    },
    draw() {
      const canvas = this.$refs.canvas;
      if (!canvas) return;
      const width = canvas.clientWidth;
      const sharp = devicePixelRatio || 1;
      canvas.width = width * sharp;
      canvas.height = HEIGHT * sharp;
      const pen = canvas.getContext("2d");
      pen.scale(sharp, sharp);
      const style = getComputedStyle(document.documentElement);
      const grid = style.getPropertyValue("--line");
      const muted = style.getPropertyValue("--muted");
      const inner = { w: width - MARGIN.left - MARGIN.right, h: HEIGHT - MARGIN.top - MARGIN.bottom };
      const columns = this.columns();
      const gaps = apart(this.shown.map((point) => point.at));
      const top = nice(Math.max(this.atLeast, ...columns.flat().filter((value) => value !== null)));
      const x = (at) => MARGIN.left + ((at - this.from) / Math.max(1, this.to - this.from)) * inner.w;
      const y = (value) => MARGIN.top + inner.h - (value / top) * inner.h;
      pen.font = "12px system-ui, sans-serif";
      this.axes(pen, { x, y, top, grid, muted, inner, width });
      pen.save();
      pen.beginPath();
      pen.rect(MARGIN.left, 0, inner.w, HEIGHT);
      pen.clip();
      for (let at = this.lines.length - 1; at >= 0; at--) this.plot(pen, columns, gaps, at, x, y);
      if (this.cursor !== null && this.picked) {
        pen.strokeStyle = muted;
        pen.beginPath();
        pen.moveTo(x(this.picked.at), MARGIN.top);
        pen.lineTo(x(this.picked.at), MARGIN.top + inner.h);
        pen.stroke();
      }
      pen.restore();
    },
    // One list of heights a line; of areas, on top of those before.
    columns() {
      const below = new Array(this.shown.length).fill(0);
      return this.lines.map((line) =>
        this.shown.map((point, at) => {
          const value = line.of(point);
          if (value === null || value === undefined) return null;
          return this.stacked ? (below[at] += value) : value;
        }),
      );
    },
    axes(pen, { x, y, top, grid, muted, inner, width }) {
      pen.strokeStyle = grid;
      pen.fillStyle = muted;
      pen.lineWidth = 1;
      pen.textAlign = "right";
      for (const share of [0, 0.5, 1]) {
        const at = Math.round(y(top * share)) + 0.5;
        pen.beginPath();
        pen.moveTo(MARGIN.left, at);
        pen.lineTo(width - MARGIN.right, at);
        pen.stroke();
        pen.fillText(`${+(top * share).toPrecision(3)}`, MARGIN.left - 6, at + 4);
      }
      pen.textAlign = "center";
      const wanted = Math.max(2, Math.floor(inner.w / 90));
      const step =
        1000 * (STEPS_S.find((each) => (this.to - this.from) / 1000 / each <= wanted) ?? 86400);
      for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step)
        pen.fillText((step < 60000 ? exact : clock).format(at), x(at), HEIGHT - 6);
    },
    plot(pen, columns, gaps, at, x, y) {
      const line = this.lines[at];
      const heights = columns[at];
      const runs = [];
      let run = [];
      heights.forEach((value, index) => {
        if ((value === null || gaps.has(index)) && run.length) {
          runs.push(run);
          run = [];
        }
        if (value !== null) run.push(index);
      });
      if (run.length) runs.push(run);
      pen.strokeStyle = pen.fillStyle = line.colour;
      pen.lineWidth = 1.6;
      for (const each of runs) {
        pen.beginPath();
        each.forEach((index, first) =>
          pen[first ? "lineTo" : "moveTo"](x(this.shown[index].at), y(heights[index])),
        );
        pen.stroke();
        if (!this.stacked) continue;
        for (const index of [...each].reverse())
          pen.lineTo(x(this.shown[index].at), y(at ? (columns[at - 1][index] ?? 0) : 0));
        pen.globalAlpha = 0.45;
        pen.fill();
        pen.globalAlpha = 1;
      }
    },
  },
  template: `
    <figure class="chart">
      <figcaption><h3>{{ title }}</h3><span class="when">{{ when }}</span>
        <ul><li v-for="each in told" :key="each.key">
          <i :style="{ background: each.colour }"></i>{{ each.text }} <b>{{ text(each.value) }}</b>
        </li></ul></figcaption>
      <canvas ref="canvas" role="img" :aria-label="summary" @pointermove="move"
        @pointerleave="$emit('cursor', null)"></canvas>
    </figure>`,
};
