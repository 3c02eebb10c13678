// Search in pages opened as files: browsers start no worker there, so the worker's script runs in a hidden frame.
// The theme's script asks its parent for the name IFrameWorker, and finds its folder by the script's own address.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }));
      inside.importScripts = async (...addresses) => {
        for (const each of addresses) await load(inside, each);
      };
      this.send = data => inside.dispatchEvent(new inside.MessageEvent("message", { data }));
      load(inside, address).then(() => {
        this.waiting.forEach(this.send);
        this.waiting = null;
      });
    }

    postMessage(data) {
      this.waiting ? this.waiting.push(data) : this.send(data);
    }
  };

  const load = (inside, address) => new Promise((done, failed) => {
    const script = inside.document.createElement("script");
    Object.assign(script, { src: address, onload: done, onerror: failed });
    inside.document.body.append(script);
  });
}
