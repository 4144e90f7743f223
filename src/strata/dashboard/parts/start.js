// A start in three steps, and then what the encoder needs.
import Once from "/look/once.js";
import panel from "/look/panel.js";

const STEPS = ["From where", "To where", "How"];
const CHECK_AFTER_MS = 500;

let made = 0;

export default {
  mixins: [panel],
  inheritAttrs: false, // its id is that of the content
  props: { mayOperate: Boolean },
  emits: ["ask"],
  data: () => ({
    steps: STEPS,
    step: 0,
    name: "",
    sender: "",
    input: "", // the number of one of the sender's, "test", or "uri"
    uri: "",
    codec: "h264",
    bitrate: 5000,
    group: 2,
    fps: 25,
    sound: true,
    chosen: [],
    addresses: [{ key: ++made, url: "" }],
    record: false,
    links: 2,
    slate: true,
    preview: false,
    slateFile: "",
    alarmBelow: "",
    slateBelow: "",
    backAbove: "",
    choices: null,
    findings: null,
    problem: "",
    busy: "",
    done: "",
    started: null,
  }),
  computed: {
    ours() {
      return this.choices?.senders.find((each) => each.id === this.sender) ?? null;
    },
    urls() {
      return this.addresses.map((each) => each.url.trim()).filter(Boolean);
    },
    asked() {
      const asked = {
        name: this.name.trim(),
        destinations: this.chosen,
        forward_to: this.urls,
        links: this.links,
        record: this.record,
        preview: this.preview,
        slate: this.slate ? this.slateFile.trim() || "on" : "off",
        encoder: {
          codec: this.codec,
          bitrate_kbps: this.bitrate || 5000,
          keyint_max: Math.min(1000, Math.max(1, Math.round(this.group * this.fps) || 1)),
        },
      };
      if (this.alarmBelow || this.slateBelow || this.backAbove)
        asked.policy = {
          alarm_below_kbps: this.alarmBelow || null,
          slate_below_kbps: this.slateBelow || null,
          back_above_kbps: this.backAbove || Math.max(this.alarmBelow, this.slateBelow),
        };
      if (!this.ours) return asked;
      asked.sender_id = this.sender;
      if (this.input === "test") asked.source = { mode: "test" };
      else if (this.input === "uri") asked.source = { mode: "uri", uri: this.uri.trim() };
      else if (this.input) asked.source = this.ours.inputs[this.input].source;
      return asked;
    },
    errors() {
      return (this.findings ?? []).filter((each) => each.severity === "error");
    },
  },
  watch: {
    asked: {
      deep: true,
      handler() {
        clearTimeout(this.own.waiting);
        if (this.step === 2) this.own.waiting = setTimeout(this.check, CHECK_AFTER_MS);
      },
    },
    step(step) {
      if (step === 2) this.check();
    },
    sound() {
      if (this.step === 2) this.check();
    },
  },
  created() {
    this.own = { waiting: 0, turn: 0, once: new Once("start") };
    const shown = this.own.once.take();
    if (shown) this.show(shown, false);
  },
  unmounted() {
    clearTimeout(this.own.waiting);
    this.own.once.letGo();
  },
  methods: {
    async connected() {
      try {
        this.choices = await this.ask("choices");
        this.own.once.found();
      } catch (problem) {
        if (!this.started) this.problem = problem.message;
      }
    },
    go(step) {
      this.step = step;
      this.problem = "";
      this.$nextTick(() => this.$refs.title?.focus());
    },
    async check() {
      const asked = JSON.parse(JSON.stringify(this.asked));
      asked.encoder.fps = this.fps;
      if (!this.ours) asked.source = { mode: "test", audio: this.sound };
      this.findings = null;
      const turn = ++this.own.turn;
      try {
        const found = await this.ask("check", asked);
        if (turn === this.own.turn) [this.findings, this.problem] = [found, ""];
      } catch (problem) {
        if (turn === this.own.turn) this.problem = problem.message;
      }
    },
    async start() {
      [this.problem, this.busy] = ["", "Starting …"];
      try {
        const started = await this.ask("start", this.asked);
        if (!started.recipe) {
          location.href = `/streams/${started.id}`;
          return;
        }
        this.addresses = [];
        this.show(started);
      } catch (problem) {
        this.problem = problem.message;
      } finally {
        this.busy = "";
      }
    },
    show(started, isKnown = true) {
      this.started = started;
      this.own.once.hold(started, isKnown);
      this.$nextTick(() => this.$refs.told?.focus());
    },
    letGo() {
      this.own.once.letGo();
    },
    more() {
      this.addresses.push({ key: ++made, url: "" });
    },
    async copy(text) {
      try {
        await navigator.clipboard.writeText(text);
        [this.done, this.problem] = ["Copied.", ""];
      } catch {
        this.problem = "The browser does not let this page copy; select the text and copy it by hand.";
      }
    },
  },
  template: `
    <section class="start" id="content" tabindex="-1">
      <template v-if="!started">
        <h1 ref="title" tabindex="-1">Start a broadcast</h1>
        <p v-if="!mayOperate" class="problem">Starting takes the role of an operator. Ask an
          administrator for it.</p>
        <template v-else>
          <ol class="steps"><li v-for="(text, at) in steps" :key="text">
            <button type="button" class="group" :aria-current="at === step ? 'step' : null"
              :aria-pressed="at === step" @click="go(at)">{{ at + 1 }} {{ text }}</button></li></ol>

          <form v-if="step === 0" @submit.prevent="go(1)">
            <label for="name">Name</label>
            <input id="name" v-model="name" maxlength="120" autocomplete="off"
              placeholder="What people call it; the slate shows it, too">
            <fieldset><legend>The picture comes from</legend>
              <label class="choice"><input v-model="sender" type="radio" value="">
                <span>Any RIST encoder<small>You are told address and key, and lines for OBS, ffmpeg
                  and ristsender</small></span></label>
              <label v-for="each in choices?.senders ?? []" :key="each.id" class="choice">
                <input v-model="sender" type="radio" :value="each.id" :disabled="!each.online">
                <span>{{ each.name }}<small :class="['state', each.online ? 'good' : 'over']">
                  {{ each.online ? "Connected" : "Not connected" }}</small></span></label>
            </fieldset>
            <template v-if="ours">
              <label for="input">Its input</label>
              <select id="input" v-model="input"><option value="">The first one that it has</option>
                <option v-for="(each, at) in ours.inputs" :key="at" :value="String(at)">
                  {{ each.name }}</option>
                <option value="uri">An address in its network</option>
                <option value="test">A test picture</option></select>
              <template v-if="input === 'uri'"><label for="uri">Address</label>
                <input id="uri" v-model="uri" type="text" autocomplete="off" spellcheck="false"
                  maxlength="2048" required placeholder="rtsp://192.168.1.20/1"></template>
            </template>
            <fieldset class="fields"><legend>{{ ours ? "Its encoder is set to"
              : "The encoder is set to (so that it can be checked)" }}</legend>
              <span><label for="codec">Picture</label>
                <select id="codec" v-model="codec"><option value="h264">H.264</option>
                  <option value="h265">H.265</option></select></span>
              <span><label for="bitrate">kb/s</label><input id="bitrate" v-model.number="bitrate"
                type="number" min="100" max="100000" step="100"></span>
              <span><label for="group">A key frame each … s</label><input id="group"
                v-model.number="group" type="number" min="0.1" max="20" step="0.1"></span>
              <span><label for="fps">Pictures a second</label><input id="fps" v-model.number="fps"
                type="number" min="1" max="120" step="any"></span>
              <label v-if="!ours" class="choice"><input v-model="sound" type="checkbox">
                <span>With sound</span></label>
            </fieldset>
            <div class="acts"><button class="button main" type="submit">Next: to where</button></div>
          </form>

          <form v-if="step === 1" @submit.prevent="go(2)">
            <fieldset><legend>Destinations</legend>
              <label v-for="each in choices?.destinations ?? []" :key="each.id" class="choice">
                <input v-model="chosen" type="checkbox" :value="each.id">
                <span>{{ each.name }}<small>{{ each.url }}</small></span></label>
              <p v-if="choices && !choices.destinations.length" class="note">None is kept yet; give
                an address below.</p></fieldset>
            <fieldset><legend>Addresses for this broadcast alone, with their keys</legend>
              <input v-for="(each, at) in addresses" :key="each.key" v-model="each.url" type="text"
                autocomplete="off" spellcheck="false" maxlength="2048"
                :aria-label="'Address ' + (at + 1)"
                placeholder="rtmp://a.rtmp.youtube.com/live2/KEY">
              <button class="button" type="button" @click="more">One more address</button></fieldset>
            <label class="choice"><input v-model="record" type="checkbox">
              <span>Record it on the host, too</span></label>
            <div class="acts"><button class="button" type="button" @click="go(0)">Back</button>
              <button class="button main" type="submit">Next: how</button></div>
          </form>

          <form v-if="step === 2" @submit.prevent="start">
            <fieldset class="fields"><legend>Options</legend>
              <span><label for="links">Links of the sender</label><input id="links"
                v-model.number="links" type="number" min="1" max="8"></span>
              <label class="choice"><input v-model="slate" type="checkbox"><span>Show a slate while no
                picture comes<small>The sessions on the platforms are kept</small></span></label>
              <label class="choice"><input v-model="preview" type="checkbox"><span>A preview as
                HLS<small>Some seconds behind; for those who should see it before the
                platforms</small></span></label>
            </fieldset>
            <details><summary>More options</summary><fieldset class="fields">
              <legend>When too little arrives, for three seconds</legend>
              <span><label for="alarm-below">Alarm below … kb/s</label><input id="alarm-below"
                v-model.number="alarmBelow" type="number" min="1" max="1000000"></span>
              <span><label for="slate-below">Slate below … kb/s</label><input id="slate-below"
                v-model.number="slateBelow" type="number" min="1" max="1000000"></span>
              <span><label for="back-above">Back above … kb/s</label><input id="back-above"
                v-model.number="backAbove" type="number" min="1" max="1000000"></span>
              </fieldset>
              <label for="slate-file">A slate of your own</label><input id="slate-file"
                v-model="slateFile" maxlength="200" autocomplete="off" :disabled="!slate"
                placeholder="A picture or movie in the media folder, such as pause.png">
            </details>
            <div role="status" class="findings">
              <p v-if="!findings && !problem" class="note">Checking what would not work …</p>
              <p v-else-if="findings && !findings.length" class="done">Nothing is known to stand in
                the way.</p>
              <ul v-else-if="findings" class="troubles"><li v-for="(each, at) in findings" :key="at"
                :class="each.severity === 'error' ? 'bad' : 'warn'">
                <b>{{ each.severity === "error" ? "Will not work:" : "May not work:" }}</b>
                {{ each.message }}</li></ul>
            </div>
            <p v-if="problem" class="problem" role="alert">{{ problem }}</p>
            <p v-if="busy" class="note" role="status">{{ busy }}</p>
            <div class="acts"><button class="button" type="button" @click="go(1)">Back</button>
              <button class="button main" type="submit" :disabled="!!busy || !!errors.length">
                Start the broadcast</button></div>
          </form>
          <p v-if="problem && step !== 2" class="problem" role="alert">{{ problem }}</p>
        </template>
      </template>

      <template v-else>
        <h1 ref="told" tabindex="-1">{{ started.name || "The broadcast" }} is ready: start the encoder</h1>
        <p class="warning">The key is shown now and never again. Copy what you need before you go on.</p>
        <p role="status" class="done">{{ done }}</p>
        <p v-if="problem" class="problem" role="alert">{{ problem }}</p>
        <dl class="recipe">
          <div v-for="[what, value] in started.recipe.facts" :key="what"><dt>{{ what }}</dt>
            <dd>{{ value }}</dd></div>
          <div><dt>Key</dt><dd><code>{{ started.recipe.psk }}</code>
            <button class="button" type="button" @click="copy(started.recipe.psk)">Copy the key</button></dd></div>
          <div v-for="(address, at) in started.recipe.addresses" :key="address">
            <dt>Link {{ at + 1 }}</dt><dd><code>{{ address }}</code>
            <button class="button" type="button" :aria-label="'Copy the address of link ' + (at + 1)"
              @click="copy(address)">Copy</button></dd></div>
        </dl>
        <section><h2>ristsender, over all links</h2>
          <p class="note">It takes MPEG-TS on its UDP port 5000.</p>
          <pre tabindex="0" aria-label="Line for ristsender">{{ started.recipe.ristsender }}</pre>
          <button class="button" type="button" @click="copy(started.recipe.ristsender)">
            Copy the line for ristsender</button></section>
        <section><h2>ffmpeg, over the first link</h2>
          <pre tabindex="0" aria-label="Line for ffmpeg">{{ started.recipe.ffmpeg }}</pre>
          <button class="button" type="button" @click="copy(started.recipe.ffmpeg)">
            Copy the line for ffmpeg</button></section>
        <section><h2>OBS Studio, over the first link</h2>
          <p class="note">Settings, Stream: service Custom, this as the server, and no stream key.
            Settings, Output: a key frame interval of 2 s.</p>
          <pre tabindex="0" aria-label="Server for OBS">{{ started.recipe.obs }}</pre>
          <button class="button" type="button" @click="copy(started.recipe.obs)">
            Copy the server for OBS</button></section>
        <section><h2>To scan</h2><div class="codes">
          <figure v-for="each in started.recipe.codes" :key="each.address">
            <img :src="each.image" :alt="'QR code with address and key of ' + each.address">
            <figcaption>{{ each.address }}</figcaption></figure></div></section>
        <div class="acts"><a class="button main" :href="'/streams/' + started.id"
          @click="letGo">I have it: go to the broadcast</a></div>
      </template>
    </section>`,
};
