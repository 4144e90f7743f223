// Before anything is drawn: dark or light, as chosen here or as the machine is set.
(() => {
  const wanted = matchMedia("(prefers-color-scheme: light)");
  const chosen = () => {
    try {
      return localStorage.getItem("strata-theme");
    } catch {
      return null; // a browser that keeps nothing
    }
  };
  const apply = () => {
    document.documentElement.dataset.theme = chosen() || (wanted.matches ? "light" : "dark");
  };
  wanted.addEventListener("change", apply);
  apply();
  window.strataTheme = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("strata-theme", next);
    } catch {
      // then it holds for this page
    }
    document.documentElement.dataset.theme = next;
    return next;
  };
})();
