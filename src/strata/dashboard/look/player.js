// The preview: with hls.js where a browser lets pages feed it media, else as the browser plays it.

export default {
  props: { src: String, label: String },
  emits: ["unplayable"],
  async mounted() {
    const { default: Hls } = await import("/look/hls/hls.light.min.mjs");
    const video = this.$refs.video;
    if (!video) return; // it was closed meanwhile
    if (!Hls.isSupported()) {
      video.src = this.src;
      return;
    }
    const hls = (this.hls = new Hls({ liveSyncDurationCount: 2, enableWorker: false }));
    hls.on(Hls.Events.ERROR, (_, error) => {
      if (error.fatal) this.$emit("unplayable");
    });
    hls.loadSource(this.src);
    hls.attachMedia(video);
  },
  unmounted() {
    this.hls?.destroy();
  },
  template: `
    <video ref="video" controls autoplay muted playsinline :aria-label="label"
      @error="$emit('unplayable')"></video>`,
};
