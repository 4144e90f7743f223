// What stands above each page.
import panel from "/look/panel.js";

const PAGES = [
  { key: "wall", href: "/", text: "On the air" },
];

const ROLES = {
  viewer: "You are a viewer: you see what is going on, and change nothing.",
  operator: "You are an operator: you start, change and stop broadcasts.",
  admin: "You are an administrator: you see and change everything.",
};

export default {
  mixins: [panel],
  props: { here: String, email: String, role: String },
  emits: ["ask"],
  data: () => ({
    pages: PAGES,
    roles: ROLES,
    theme: document.documentElement.dataset.theme, 
  }),
  methods: {
    turn() {
      this.theme = window.strataTheme();
    },
  },
  template: `
    <header class="shell">
      <a class="skip" href="#content">Skip to the content</a>
      <a class="brand" href="/"><img src="/look/icon.svg" alt="" width="24" height="24">Strata</a>
      <nav aria-label="Pages">
        <a v-for="page in pages" :key="page.key" :href="page.href"
          :aria-current="page.key === here ? 'page' : null">{{ page.text }}</a>
      </nav>
      <div class="who">
        <button class="button quiet" type="button" @click="turn">
          {{ theme === "dark" ? "Light" : "Dark" }}</button>
        <details>
          <summary>{{ email }}</summary>
          <form class="menu" method="post" action="/logout">
            <p>{{ roles[role] }}</p>
            <button class="button" type="submit">Log out</button>
          </form>
        </details>
      </div>
    </header>
    <p v-if="silence" class="silence" role="alert">
      No news from the control plane for {{ silence }} s. What is on the air goes on without it;
      what this page shows may no longer hold.
    </p>`,
};
