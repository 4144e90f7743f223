// What is wrong, and what was.
import "/look/once.js"; // a key that was not taken up again is forgotten
import panel, { moment, span } from "/look/panel.js";

const SHOWN = 300; // what the server tells at most

export default {
  mixins: [panel],
  inheritAttrs: false, // its id is that of the content
  props: { mayOperate: Boolean },
  emits: ["ask"],
  data: () => ({ alerts: null, shownMax: SHOWN, problem: "" }),
  computed: {
    standing() {
      return (this.alerts ?? []).filter((alert) => !alert.cleared);
    },
    past() {
      return (this.alerts ?? []).filter((alert) => alert.cleared);
    },
  },
  created() {
    this.own = { told: new Map() };
  },
  methods: {
    moment,
    span,
    async connected() {
      // What is told until the answer is there may be newer than it.
      const told = (this.own.told = new Map());
      try {
        const alerts = await this.ask("look");
        this.alerts = alerts;
        told.forEach(this.put);
        this.problem = "";
      } catch (problem) {
        this.problem = problem.message;
      }
    },
    on_alert(alert) {
      this.own.told.set(alert.id, alert);
      if (this.alerts) this.put(alert);
    },
    put(alert) {
      this.alerts = [alert, ...this.alerts.filter((each) => each.id !== alert.id)].sort(
        (a, b) => b.raised - a.raised,
      );
    },
    async ack(alert) {
      try {
        this.on_alert(await this.ask("ack", { id: alert.id }));
        this.problem = "";
      } catch (problem) {
        this.problem = problem.message;
      }
    },
  },
  template: `
    <section class="list-page" id="content" tabindex="-1">
      <h1>Alerts</h1>
      <p v-if="problem" class="problem" role="alert">{{ problem }}</p>
      <p v-if="alerts && !standing.length" class="done">Nothing is wrong right now.</p>
      <ul class="troubles" aria-label="What is wrong now"><li v-for="alert in standing" :key="alert.id"
        :class="alert.grave ? 'bad' : 'warn'">
        <b><a v-if="alert.subject" :href="'/streams/' + alert.subject">{{ alert.name }}</a>
          <span v-else>{{ alert.name }}</span>: {{ alert.title }}.</b>
        {{ alert.means }} <em>{{ alert.do }}</em>
        <span class="detail">{{ alert.detail }}</span>
        <span class="detail">For {{ span(now - alert.raised) }}, since {{ moment(alert.raised)
          + (alert.acked ? ", seen " + moment(alert.acked) : "") }}</span>
        <button v-if="mayOperate && !alert.acked" class="button" type="button"
          :aria-label="'I have seen: ' + alert.name + ', ' + alert.title" @click="ack(alert)">
          I have seen it</button></li></ul>
      <template v-if="past.length"><h2>Over</h2>
        <ol class="events"><li v-for="alert in past" :key="alert.id">
          <time :datetime="new Date(alert.raised).toISOString()">{{ moment(alert.raised) }}</time>
          <span class="mark over" aria-hidden="true"></span>
          <span><a v-if="alert.subject" :href="'/streams/' + alert.subject">{{ alert.name }}</a>
            <span v-else>{{ alert.name }}</span>: {{ alert.title }}, for
            {{ span(alert.cleared - alert.raised) }}<i>{{ alert.detail ? " – " + alert.detail : "" }}</i>
          </span></li></ol></template>
      <p v-if="alerts && alerts.length >= shownMax" class="note">What was wrong before that is among the
        <a href="/events">events</a>.</p>
    </section>`,
};
