// A table of things, and what can be done with each; what stands in it comes from records.py.
import Once from "/look/once.js";
import panel, { moment } from "/look/panel.js";

let count = 0;

export default {
  mixins: [panel],
  inheritAttrs: false, // the id of the first is that of the content
  props: { spec: Object, isFirst: Boolean },
  emits: ["ask"],
  data: () => ({
    name: `records-${++count}`,
    rows: null,
    pages: [], // each by the last row of the one before; the latest has none
    earlier: null,
    problem: "",
    done: "",
    good: true,
    busy: "",
    act: null,
    row: null,
    values: {},
    once: null,
  }),
  computed: {
    doing() {
      return this.row ? `${this.act?.text}: ${Object.values(this.row.cells)[0].text}` : this.act?.text;
    },
  },
  created() {
    this.own = { again: 0, turn: 0, once: new Once(this.spec.title) };
  },
  mounted() {
    const again = () => document.hidden || this.pages.length || this.look();
    if (this.spec.again_s) this.own.again = setInterval(again, this.spec.again_s * 1000);
    const shown = this.own.once.take();
    if (shown) this.show(shown, false);
  },
  unmounted() {
    clearInterval(this.own.again);
    this.own.once.letGo();
  },
  methods: {
    moment,
    connected() {
      this.look();
    },
    async look() {
      const turn = ++this.own.turn;
      try {
        const told = await this.ask("look", { before: this.pages.at(-1) ?? null });
        this.own.once.found();
        if (turn === this.own.turn) [this.rows, this.earlier] = [told.rows, told.earlier];
      } catch (problem) {
        this.problem = problem.message;
      }
    },
    async turnTo(...pages) {
      this.pages = pages;
      await this.look();
      this.$refs.top.focus();
    },
    acts(row) {
      return this.spec.acts.filter((act) => row.acts.includes(act.key));
    },
    begin(act, row = null) {
      [this.act, this.row, this.problem, this.done] = [act, row, "", ""];
      this.values = {};
      for (const field of act.fields)
        this.values[field.name] = row?.values[field.name] ?? field.value;
      if (act.fields.length || act.sure) this.$refs.asked.showModal();
      else this.carryOut();
    },
    async carryOut() {
      const { act, row, values } = this;
      this.problem = "";
      this.busy = act.takes || "One moment …";
      if (!act.fields.length) this.$refs.asked.close();
      try {
        const told = await this.ask(act.key, { ...values, id: row?.id });
        this.$refs.asked.close();
        [this.done, this.good] = [told?.said ?? "", told?.good ?? true];
        if (told?.once) this.show(told.once);
      } catch (problem) {
        this.problem = problem.message;
      } finally {
        this.busy = "";
      }
      this.look();
    },
    show(once, isKnown = true) {
      this.once = once;
      this.own.once.hold(once, isKnown);
      this.$nextTick(() => this.$refs.once.showModal());
    },
    letGo() {
      this.once = null;
      this.own.once.letGo();
    },
    // What was typed may be a secret.
    forgetTyped() {
      if (!this.$refs.asked.open) this.values = {};
    },
    async copy(text) {
      try {
        await navigator.clipboard.writeText(text);
        this.done = "Copied.";
      } catch {
        this.done = "The browser does not let this page copy; select the text and copy it by hand.";
      }
    },
  },
  template: `
    <section ref="top" class="list-page records" :id="isFirst ? 'content' : null" tabindex="-1"
      :aria-labelledby="name">
      <div class="bar"><h1 :id="name">{{ spec.title }}</h1>
        <div class="acts"><button v-if="spec.add" class="button main" type="button"
          @click="begin(spec.add)">{{ spec.add.text }}</button></div></div>
      <p v-if="spec.note" class="note">{{ spec.note }}</p>
      <div role="status" class="outcome"><p v-if="busy">{{ busy }}</p>
        <p v-if="done" :class="good ? 'done' : 'state bad'">{{ done }}</p></div>
      <p v-if="problem" class="problem" role="alert">{{ problem }}</p>
      <p v-if="rows && !rows.length" class="nothing">{{ spec.empty }}</p>
      <div v-if="rows && rows.length" class="scroll" tabindex="0" role="group"
        :aria-label="'Table: ' + spec.title"><table class="cards" role="table">
        <thead role="rowgroup"><tr role="row">
          <th v-for="column in spec.columns" :key="column.key" scope="col" role="columnheader">
            {{ column.text }}</th>
          <th v-if="spec.acts.length" scope="col" role="columnheader">
            <span class="hidden">What can be done</span></th>
        </tr></thead>
        <tbody role="rowgroup"><tr v-for="row in rows" :key="row.id" role="row">
          <td v-for="(column, at) in spec.columns" :key="column.key" role="cell"
            :data-what="column.text">
            <template v-for="cell in [row.cells[column.key]]" :key="column.key">
              <span v-if="cell.kind === 'state'" :class="['state', cell.tone]">{{ cell.text }}</span>
              <time v-else-if="cell.kind === 'moment'">{{ cell.at ? moment(cell.at) : cell.text }}</time>
              <span v-else-if="cell.kind === 'share'" class="share">{{ cell.text }}
                <meter v-if="cell.percent !== null" min="0" max="100" low="60" high="80" optimum="0"
                  :value="cell.percent" :aria-label="column.text">{{ cell.percent }} %</meter></span>
              <a v-else-if="cell.link" :href="cell.link">{{ cell.text }}</a>
              <b v-else-if="at === 0">{{ cell.text }}</b>
              <span v-else>{{ cell.text }}</span>
              <small v-if="cell.more">{{ cell.more }}</small>
            </template></td>
          <td v-if="spec.acts.length" class="do" role="cell">
            <button v-for="act in acts(row)" :key="act.key" class="button" type="button"
              :disabled="!!busy" :aria-label="act.text + ': ' + Object.values(row.cells)[0].text"
              @click="begin(act, row)">{{ act.text }}</button></td>
        </tr></tbody></table></div>
      <div v-if="earlier || pages.length" class="acts pages">
        <button v-if="pages.length" class="button" type="button" @click="turnTo(...pages.slice(0, -1))">
          Later</button>
        <button v-if="earlier" class="button" type="button" @click="turnTo(...pages, earlier)">
          Earlier</button></div>

      <dialog ref="asked" :aria-labelledby="name + '-asked'" @close="forgetTyped">
        <form @submit.prevent="carryOut">
          <h2 :id="name + '-asked'">{{ doing }}</h2>
          <p v-if="act?.sure">{{ act.sure }}</p>
          <template v-for="field in act?.fields ?? []" :key="field.name">
            <label :for="name + field.name">{{ field.text }}</label>
            <select v-if="field.kind === 'choice'" :id="name + field.name" v-model="values[field.name]">
              <option v-for="[value, text] in field.options" :key="value" :value="value">{{ text }}</option>
            </select>
            <input v-else :id="name + field.name" v-model="values[field.name]" :type="field.kind"
              :required="field.required" :autocomplete="field.kind === 'password' ? 'new-password' : 'off'"
              spellcheck="false" maxlength="2048">
            <small v-if="field.help" class="note">{{ field.help }}</small>
          </template>
          <p v-if="busy" class="note">{{ busy }}</p>
          <p v-if="problem" class="problem" role="alert">{{ problem }}</p>
          <div class="acts"><button class="button" type="button" @click="$refs.asked.close()">
            Cancel</button>
            <button class="button main" type="submit" :disabled="!!busy">{{ act?.text }}</button></div>
        </form>
      </dialog>

      <dialog ref="once" :aria-labelledby="name + '-once'" @cancel.prevent @close="letGo">
        <template v-if="once"><h2 :id="name + '-once'">{{ once.title }}</h2>
          <p class="warning">{{ once.note }}</p>
          <template v-for="[what, value] in once.lines" :key="what"><h3>{{ what }}</h3>
            <pre tabindex="0" :aria-label="what">{{ value }}</pre>
            <button class="button" type="button" :aria-label="'Copy: ' + what" @click="copy(value)">
              Copy</button></template>
          <img v-if="once.image" :src="once.image" alt="The same as a QR code" width="200">
          <p role="status" class="done">{{ done }}</p>
          <div class="acts"><button class="button main" type="button" @click="$refs.once.close()">
            I have it</button></div></template>
      </dialog>
    </section>`,
};
