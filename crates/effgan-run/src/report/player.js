// Plays the grids of the rounds as an animation. Without this script they lie side by side.
(() => {
  const frames = [...document.querySelectorAll("#frames figure")];
  if (frames.length < 2) return;
  const player = document.getElementById("player");
  const [picture, name, button, slider] = ["img", "figcaption", "button", "input"].map((tag) => player.querySelector(tag));
  const each = Math.min(700, Math.max(120, 6000 / frames.length));
  const last = frames.length - 1;
  let timer = 0;

  const show = (i) => {
    const frame = frames[i];
    picture.src = frame.querySelector("img").src;
    picture.alt = frame.querySelector("img").alt;
    name.innerHTML = frame.querySelector("figcaption").innerHTML;
    slider.value = i;
    slider.setAttribute("aria-valuetext", name.textContent);
  };
  const next = () => {
    const i = Number(slider.value) === last ? 0 : Number(slider.value) + 1;
    show(i);
    timer = setTimeout(next, i === last ? 2000 : each);
  };
  const pause = () => {
    clearTimeout(timer);
    timer = 0;
    button.textContent = "Play";
  };
  const play = () => {
    timer = setTimeout(next, each);
    button.textContent = "Pause";
  };

  const model = frames[last].querySelector("img");
  [picture.width, picture.height, picture.className] = [model.width, model.height, model.className];
  slider.max = last;
  show(last);
  button.onclick = () => (timer ? pause() : play());
  slider.oninput = () => { pause(); show(Number(slider.value)); };
  player.hidden = false;
  document.getElementById("frames").open = false;
  // It starts when it is first scrolled into view, unless the system asks for reduced motion.
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    const seen = new IntersectionObserver(([entry]) => {
      if (!entry.isIntersecting) return;
      seen.disconnect();
      play();
    }, { threshold: 0.5 });
    seen.observe(player);
  }
})();
