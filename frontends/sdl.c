/* SPDX-License-Identifier: MIT */
/*
 * The desktop window. Sixty times a second it lets the display adapter render what changed, under the machine
 * lock, into its surface, copies that and shows it when the lock is free again. Keys go to the guest by
 * position. A click captures the mouse; Ctrl+Alt+G, or a window that loses the focus, releases it. While the guest
 * listens to a pointer that knows positions, nothing is captured: it follows the host's, which is hidden over the
 * picture. Keys that the guest believes pressed are released when the focus goes.
 *
 * Pictures are scaled by nearest neighbour to the next whole factor and from there smoothly, so that whole
 * factors are exact.
 */
#include "frontends/sdl.h"

#include <SDL.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/display.h"
#include "core/log.h"
#include "frontends/sdl_keys.h"

#define FRAME_MS 16
#define HIDDEN_FRAME_MS 200
#define MESSAGE_MS 5000
#define KEYS 0x300
#define WINDOW_MIN 100
#define STRETCH_MAX 4 /* largest whole factor made by nearest neighbour */

struct sdl_window {
  struct machine *machine;
  const char *name;
  SDL_Window *window;
  SDL_Renderer *renderer;
  SDL_Texture *texture;   /* the guest's picture */
  SDL_Texture *stretched; /* the same by a whole factor, NULL while not needed */
  int stretched_by;
  uint32_t *shadow;              /* the guest's picture, ours to read without the lock */
  int width, height;             /* of the guest's picture */
  int asked_width, asked_height; /* of the window */
  bool sized_by_user, hidden, captured, fullscreen, expose, done;
  bool absolute; /* the guest wants positions */
  bool cursor_hidden;
  bool pressed[KEYS];
  int buttons;
  int dx, dy, dz;           /* not yet delivered */
  int x, y;                 /* position in the guest's picture, 0 to INPUT_ABS_MAX */
  bool moved;               /* not yet told */
  enum machine_state state; /* as last seen */
  char title[256], message[160];
  uint32_t message_until;
};

/* --- title --- */

static const char *state_name(enum machine_state state) {
  switch (state) {
  case MACHINE_RUNNING: return "Running";
  case MACHINE_PAUSED: return "Paused";
  default: return "Stopped";
  }
}

static void title_update(struct sdl_window *w) {
  char title[sizeof w->title];
  const char *hint = w->captured ? " - Press Ctrl+Alt+G to release mouse" : "";
  if (w->message[0] && SDL_TICKS_PASSED(SDL_GetTicks(), w->message_until))
    w->message[0] = 0;
  snprintf(title, sizeof title, "Dragoman%s%s%s - %s%s%s%s", w->name ? " [" : "", w->name ? w->name : "",
           w->name ? "]" : "", state_name(w->state), hint, w->message[0] ? " - " : "", w->message);
  if (strcmp(title, w->title)) {
    memcpy(w->title, title, sizeof title);
    SDL_SetWindowTitle(w->window, title);
  }
}

static void message_show(struct sdl_window *w, const char *format, const char *what) {
  snprintf(w->message, sizeof w->message, format, what);
  w->message_until = SDL_GetTicks() + MESSAGE_MS;
}

/* --- picture --- */

/* A window that has grown shall not hang out of the screen's usable area. */
static void window_keep_inside(struct sdl_window *w, int x0, int y0, int x1, int y1) {
  int old_x, old_y;
  SDL_GetWindowPosition(w->window, &old_x, &old_y);
  int x = old_x + w->asked_width > x1 ? x1 - w->asked_width : old_x;
  int y = old_y + w->asked_height > y1 ? y1 - w->asked_height : old_y;
  x = x < x0 ? x0 : x;
  y = y < y0 ? y0 : y;
  if (x != old_x || y != old_y)
    SDL_SetWindowPosition(w->window, x, y);
}

/* The largest whole factor that leaves the window within two thirds of the screen; shrink what does not fit.
 */
static void window_fit(struct sdl_window *w) {
  SDL_Rect area = {0, 0, 1024, 768};
  int display = SDL_GetWindowDisplayIndex(w->window), factor = 1, top = 0, left = 0, bottom = 0, right = 0;
  SDL_GetDisplayUsableBounds(display < 0 ? 0 : display, &area);
  SDL_GetWindowBordersSize(w->window, &top, &left, &bottom, &right);
  area.w -= left + right;
  area.h -= top + bottom;
  while ((factor + 1) * w->width <= area.w * 2 / 3 && (factor + 1) * w->height <= area.h * 2 / 3)
    factor++;
  int width = w->width * factor, height = w->height * factor;
  if (width > area.w) {
    height = height * area.w / width;
    width = area.w;
  }
  if (height > area.h) {
    width = width * area.h / height;
    height = area.h;
  }
  w->asked_width = width > WINDOW_MIN ? width : WINDOW_MIN;
  w->asked_height = height > WINDOW_MIN ? height : WINDOW_MIN;
  SDL_SetWindowSize(w->window, w->asked_width, w->asked_height);
  window_keep_inside(w, area.x + left, area.y + top, area.x + left + area.w, area.y + top + area.h);
}

static void stretched_drop(struct sdl_window *w) {
  if (w->stretched)
    SDL_DestroyTexture(w->stretched);
  w->stretched = NULL;
}

/* A new size of the guest's picture. The old one stays if there is no memory. */
static bool picture_resize(struct sdl_window *w, int width, int height) {
  uint32_t *shadow = calloc((size_t)width * (size_t)height, 4);
  SDL_Texture *texture =
      SDL_CreateTexture(w->renderer, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STREAMING, width, height);
  if (!shadow || !texture) {
    free(shadow);
    if (texture)
      SDL_DestroyTexture(texture);
    return false;
  }
  SDL_SetTextureBlendMode(texture, SDL_BLENDMODE_NONE);
  if (w->texture)
    SDL_DestroyTexture(w->texture);
  stretched_drop(w);
  free(w->shadow);
  w->texture = texture;
  w->shadow = shadow;
  w->width = width;
  w->height = height;
  if (!w->sized_by_user && !w->fullscreen)
    window_fit(w);
  return true;
}

static void picture_upload(struct sdl_window *w, const SDL_Rect *changed) {
  const uint32_t *from = w->shadow + (size_t)changed->y * (size_t)w->width + changed->x;
  SDL_UpdateTexture(w->texture, changed, from, w->width * 4);
  w->expose = true;
}

/* Under the machine lock: let the adapter render and take over what changed. */
static bool picture_take(struct sdl_window *w, SDL_Rect *changed) {
  struct display *d = w->machine->display;
  if (!d || !d->refresh || !d->refresh(d, &changed->x, &changed->y, &changed->w, &changed->h))
    return false;
  const struct surface *s = &d->surface;
  if (s->width != w->width || s->height != w->height) {
    if (!picture_resize(w, s->width, s->height)) {
      d->invalidate(d);
      return false;
    }
    *changed = (SDL_Rect){0, 0, s->width, s->height};
  }
  for (int y = changed->y; y < changed->y + changed->h; y++) {
    const uint32_t *from = s->pixels + (size_t)y * (size_t)s->stride + changed->x;
    memcpy(w->shadow + (size_t)y * (size_t)w->width + changed->x, from, (size_t)changed->w * 4);
  }
  return true;
}

/* Centre the picture in the window, its proportions kept. */
static SDL_Rect picture_place(const struct sdl_window *w, int width, int height) {
  SDL_Rect to = {0, 0, width, height};
  if ((int64_t)width * w->height > (int64_t)height * w->width)
    to.w = (int)((int64_t)height * w->width / w->height);
  else
    to.h = (int)((int64_t)width * w->height / w->width);
  to.x = (width - to.w) / 2;
  to.y = (height - to.h) / 2;
  return to;
}

/* The picture enlarged by a whole factor, sharp; NULL if the renderer cannot. */
static SDL_Texture *picture_stretch(struct sdl_window *w, int factor) {
  if (w->stretched && w->stretched_by != factor)
    stretched_drop(w);
  if (!w->stretched) {
    w->stretched = SDL_CreateTexture(w->renderer, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_TARGET,
                                     w->width * factor, w->height * factor);
    if (!w->stretched)
      return NULL;
    w->stretched_by = factor;
    SDL_SetTextureBlendMode(w->stretched, SDL_BLENDMODE_NONE);
    SDL_SetTextureScaleMode(w->stretched, SDL_ScaleModeLinear);
  }
  SDL_SetTextureScaleMode(w->texture, SDL_ScaleModeNearest);
  if (SDL_SetRenderTarget(w->renderer, w->stretched))
    return NULL;
  SDL_RenderCopy(w->renderer, w->texture, NULL, NULL);
  SDL_SetRenderTarget(w->renderer, NULL);
  return w->stretched;
}

static void window_draw(struct sdl_window *w) {
  int width, height;
  w->expose = false;
  if (SDL_GetRendererOutputSize(w->renderer, &width, &height))
    return;
  SDL_SetRenderDrawColor(w->renderer, 0, 0, 0, 255);
  if (w->texture) {
    SDL_Rect to = picture_place(w, width, height);
    bool whole = to.w % w->width == 0 && to.h % w->height == 0;
    int factor = (to.w + w->width - 1) / w->width;
    SDL_Texture *from = w->texture;
    SDL_SetTextureScaleMode(w->texture, whole ? SDL_ScaleModeNearest : SDL_ScaleModeLinear);
    if (!whole && factor > 1 && factor <= STRETCH_MAX) {
      SDL_Texture *stretched = picture_stretch(w, factor);
      if (stretched)
        from = stretched;
      else
        SDL_SetTextureScaleMode(w->texture, SDL_ScaleModeLinear);
    }
    SDL_RenderClear(w->renderer);
    SDL_RenderCopy(w->renderer, from, NULL, &to);
  } else {
    SDL_RenderClear(w->renderer);
  }
  SDL_RenderPresent(w->renderer);
}

static void picture_reset(struct sdl_window *w, bool textures_lost) {
  stretched_drop(w);
  if (w->texture && textures_lost) {
    SDL_DestroyTexture(w->texture);
    w->texture = SDL_CreateTexture(w->renderer, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STREAMING, w->width,
                                   w->height);
  }
  if (w->texture)
    picture_upload(w, &(SDL_Rect){0, 0, w->width, w->height});
}

/* --- input: all of it under the machine lock --- */

static void key_send(struct sdl_window *w, int key, bool down) {
  struct input_sink *in = &w->machine->input;
  w->pressed[key] = down;
  if (in->key)
    in->key(in->key_opaque, key, down);
}

static void keys_release(struct sdl_window *w) {
  for (int key = 0; key < KEYS; key++)
    if (w->pressed[key])
      key_send(w, key, false);
}

static void tablet_flush(struct sdl_window *w) {
  struct input_sink *in = &w->machine->input;
  if (!w->moved && !w->dz && in->buttons == w->buttons)
    return;
  in->buttons = w->buttons;
  in->x = w->x;
  in->y = w->y;
  in->tablet(in->tablet_opaque, w->x, w->y, w->dz, w->buttons);
  w->moved = false;
  w->dx = w->dy = w->dz = 0;
}

static void mouse_flush(struct sdl_window *w) {
  struct input_sink *in = &w->machine->input;
  if (w->absolute && !w->captured) {
    tablet_flush(w);
    return;
  }
  if (!w->dx && !w->dy && !w->dz && in->buttons == w->buttons)
    return;
  in->buttons = w->buttons;
  if (in->mouse)
    in->mouse(in->mouse_opaque, w->dx, w->dy, w->dz, w->buttons);
  w->dx = w->dy = w->dz = 0;
}

static void capture_set(struct sdl_window *w, bool on) {
  if (w->captured == on)
    return;
  if (on && SDL_SetRelativeMouseMode(SDL_TRUE)) {
    message_show(w, "the mouse cannot be captured: %s", SDL_GetError());
    return;
  }
  if (!on)
    SDL_SetRelativeMouseMode(SDL_FALSE);
  SDL_SetWindowKeyboardGrab(w->window, on ? SDL_TRUE : SDL_FALSE);
  w->captured = on;
  w->dx = w->dy = w->dz = 0;
  if (!on && w->buttons) {
    w->buttons = 0;
    mouse_flush(w);
  }
}

static void cursor_show(struct sdl_window *w, bool show) {
  if (w->cursor_hidden != show)
    return;
  SDL_ShowCursor(show ? SDL_ENABLE : SDL_DISABLE);
  w->cursor_hidden = !show;
}

/* Does the guest want positions now? What was begun in the other way ends. */
static void absolute_check(struct sdl_window *w) {
  const struct input_sink *in = &w->machine->input;
  bool wanted = in->tablet && in->tablet_active && in->tablet_active(in->tablet_opaque);
  if (wanted == w->absolute)
    return;
  if (wanted)
    capture_set(w, false);
  else if (w->buttons) {
    w->buttons = 0;
    mouse_flush(w);
  }
  w->absolute = wanted;
  w->moved = false;
  w->dx = w->dy = w->dz = 0;
  if (!wanted)
    cursor_show(w, true);
}

static int position(int at, int start, int length) {
  if (length < 2 || at <= start)
    return 0;
  return at >= start + length ? INPUT_ABS_MAX : (int)((int64_t)(at - start) * INPUT_ABS_MAX / (length - 1));
}

/* Window coordinates to the guest's: the picture may be centred and scaled, and pixels be finer than coordinates. */
static void position_event(struct sdl_window *w, int x, int y) {
  int width, height, pixels_w, pixels_h;
  SDL_GetWindowSize(w->window, &width, &height);
  if (!w->texture || width < 1 || height < 1 || SDL_GetRendererOutputSize(w->renderer, &pixels_w, &pixels_h))
    return;
  SDL_Rect to = picture_place(w, pixels_w, pixels_h);
  x = (int)((int64_t)x * pixels_w / width);
  y = (int)((int64_t)y * pixels_h / height);
  bool inside = x >= to.x && x < to.x + to.w && y >= to.y && y < to.y + to.h;
  w->x = position(x, to.x, to.w);
  w->y = position(y, to.y, to.h);
  w->x = w->x > INPUT_ABS_MAX ? INPUT_ABS_MAX : w->x;
  w->y = w->y > INPUT_ABS_MAX ? INPUT_ABS_MAX : w->y;
  w->moved = true;
  cursor_show(w, !inside);
}

static void screenshot(struct sdl_window *w) {
  char stamp[32], path[64];
  time_t now = time(NULL);
  struct tm local;
  if (!w->shadow)
    return;
  strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", localtime_r(&now, &local));
  snprintf(path, sizeof path, "dragoman-%s.png", stamp);
  for (int n = 2; access(path, F_OK) == 0 && n < 100; n++)
    snprintf(path, sizeof path, "dragoman-%s-%d.png", stamp, n);
  int error = image_write_png(&(struct surface){w->shadow, w->width, w->height, w->width}, path);
  message_show(w, error ? "Screenshot failed: %s" : "Screenshot: %s", error ? strerror(-error) : path);
}

static void fullscreen_toggle(struct sdl_window *w) {
  w->fullscreen = !w->fullscreen;
  if (SDL_SetWindowFullscreen(w->window, w->fullscreen ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0)) {
    w->fullscreen = false;
    message_show(w, "no full screen: %s", SDL_GetError());
  }
  if (!w->fullscreen && !w->sized_by_user && w->texture)
    window_fit(w);
  w->expose = true;
}

/* Ctrl+Alt+letter is ours. */
static bool hot_key(struct sdl_window *w, SDL_Scancode scancode) {
  switch (scancode) {
  case SDL_SCANCODE_F: fullscreen_toggle(w); return true;
  case SDL_SCANCODE_G:
    if (!w->absolute)
      capture_set(w, !w->captured);
    return true;
  case SDL_SCANCODE_S: screenshot(w); return true;
  case SDL_SCANCODE_P:
    if (w->machine->state == MACHINE_PAUSED)
      machine_continue(w->machine);
    else
      machine_pause(w->machine, "user");
    return true;
  case SDL_SCANCODE_Q: w->done = true; return true;
  default: return false;
  }
}

static void key_event(struct sdl_window *w, const SDL_KeyboardEvent *e) {
  int key = sdl_key_from_scancode(e->keysym.scancode);
  bool down = e->type == SDL_KEYDOWN;
  if (down && (e->keysym.mod & KMOD_CTRL) && (e->keysym.mod & KMOD_LALT) && !e->repeat &&
      hot_key(w, e->keysym.scancode))
    return;
  if (key < 0)
    return;
  if (!down && w->pressed[key])
    key_send(w, key, false);
  else if (down && w->machine->state == MACHINE_RUNNING && !e->repeat)
    key_send(w, key, true);
  else if (down && w->pressed[key] && w->machine->state == MACHINE_RUNNING && key != KEY_PAUSE)
    key_send(w, key, true); /* the host's key repeat */
}

static int button_bit(uint8_t button) {
  return button == SDL_BUTTON_LEFT     ? MOUSE_LEFT
         : button == SDL_BUTTON_RIGHT  ? MOUSE_RIGHT
         : button == SDL_BUTTON_MIDDLE ? MOUSE_MIDDLE
                                       : 0;
}

static void button_event(struct sdl_window *w, const SDL_MouseButtonEvent *e) {
  if (w->absolute && !w->captured)
    position_event(w, e->x, e->y);
  if (e->type == SDL_MOUSEBUTTONDOWN && !w->captured && !w->absolute) {
    if (e->button == SDL_BUTTON_LEFT)
      capture_set(w, true);
    return; /* this click was for us, and its release finds no button pressed */
  }
  mouse_flush(w); /* movement before the click belongs before it */
  if (e->type == SDL_MOUSEBUTTONDOWN)
    w->buttons |= button_bit(e->button);
  else
    w->buttons &= ~button_bit(e->button);
  mouse_flush(w);
}

static void window_event(struct sdl_window *w, const SDL_WindowEvent *e) {
  switch (e->event) {
  case SDL_WINDOWEVENT_FOCUS_LOST:
    keys_release(w);
    capture_set(w, false);
    if (w->absolute && w->buttons) {
      w->buttons = 0;
      mouse_flush(w);
    }
    break;
  case SDL_WINDOWEVENT_RESIZED:
    if (!w->fullscreen && (e->data1 != w->asked_width || e->data2 != w->asked_height))
      w->sized_by_user = true;
    w->expose = true;
    break;
  case SDL_WINDOWEVENT_EXPOSED:
  case SDL_WINDOWEVENT_SIZE_CHANGED: w->expose = true; break;
  case SDL_WINDOWEVENT_MINIMIZED:
  case SDL_WINDOWEVENT_HIDDEN: w->hidden = true; break;
  case SDL_WINDOWEVENT_RESTORED:
  case SDL_WINDOWEVENT_MAXIMIZED:
  case SDL_WINDOWEVENT_SHOWN:
    w->hidden = false;
    w->expose = true;
    break;
  case SDL_WINDOWEVENT_CLOSE: w->done = true; break;
  }
}

static void event_handle(struct sdl_window *w, const SDL_Event *e) {
  switch (e->type) {
  case SDL_QUIT: w->done = true; break;
  case SDL_WINDOWEVENT: window_event(w, &e->window); break;
  case SDL_KEYDOWN:
  case SDL_KEYUP: key_event(w, &e->key); break;
  case SDL_MOUSEBUTTONDOWN:
  case SDL_MOUSEBUTTONUP: button_event(w, &e->button); break;
  case SDL_MOUSEMOTION:
    if (w->captured) {
      w->dx += e->motion.xrel;
      w->dy += e->motion.yrel;
    } else if (w->absolute) {
      position_event(w, e->motion.x, e->motion.y);
    }
    break;
  case SDL_MOUSEWHEEL:
    if (w->captured || w->absolute)
      w->dz -= e->wheel.direction == SDL_MOUSEWHEEL_FLIPPED ? -e->wheel.y : e->wheel.y;
    break;
  case SDL_RENDER_TARGETS_RESET: picture_reset(w, false); break;
  case SDL_RENDER_DEVICE_RESET: picture_reset(w, true); break;
  }
}

/* Take all events up to the time `until`; they reach the guest as they come. */
static void events_until(struct sdl_window *w, uint32_t until) {
  SDL_Event e;
  do {
    int32_t left = (int32_t)(until - SDL_GetTicks());
    if (!SDL_WaitEventTimeout(&e, left > 0 ? left : 0))
      continue;
    machine_lock(w->machine);
    do
      event_handle(w, &e);
    while (!w->done && SDL_PollEvent(&e));
    if (w->captured || w->absolute)
      mouse_flush(w);
    machine_unlock(w->machine);
  } while (!w->done && (int32_t)(until - SDL_GetTicks()) > 0);
}

/* --- window --- */

static struct sdl_window *open_failed(struct sdl_window *w, char *error, size_t size, const char *what) {
  snprintf(error, size, "cannot open a window (%s: %s); use -display none to run without one", what,
           SDL_GetError());
  sdl_close(w);
  return NULL;
}

/* SDL falls back on drivers that show nothing, and libraries chat on stderr: only ask those that can work. */
static int video_init(void) {
  bool x11 = getenv("DISPLAY"), wayland = getenv("WAYLAND_DISPLAY"), chosen = getenv("SDL_VIDEODRIVER");
  if (!x11 && !wayland && !chosen)
    return SDL_SetError("neither DISPLAY nor WAYLAND_DISPLAY is set");
  if (!chosen && !wayland)
    SDL_SetHint(SDL_HINT_VIDEODRIVER, "x11");
  if (SDL_Init(SDL_INIT_VIDEO)) {
    if (x11 && !wayland && !chosen)
      SDL_SetError("DISPLAY=%s does not answer", getenv("DISPLAY"));
    return -1;
  }
  const char *driver = SDL_GetCurrentVideoDriver();
  if (!chosen && driver && strcmp(driver, "x11") && strcmp(driver, "wayland"))
    return SDL_SetError("neither X11 nor Wayland answers");
  return 0;
}

struct sdl_window *sdl_open(struct machine *m, const char *name, char *error, size_t size) {
  struct sdl_window *w = calloc(1, sizeof *w);
  if (!w) {
    snprintf(error, size, "out of memory");
    return NULL;
  }
  w->machine = m;
  w->name = name;
  SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
  SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
  SDL_SetHint(SDL_HINT_VIDEO_MINIMIZE_ON_FOCUS_LOSS, "0");
  SDL_SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
  SDL_SetHint(SDL_HINT_APP_NAME, "Dragoman");
  if (video_init())
    return open_failed(w, error, size, "no display");
  w->width = 720;
  w->height = 400;
  w->window = SDL_CreateWindow("Dragoman", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, w->width,
                               w->height, SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI);
  if (!w->window)
    return open_failed(w, error, size, "no window");
  w->renderer = SDL_CreateRenderer(w->window, -1, 0);
  if (!w->renderer)
    w->renderer = SDL_CreateRenderer(w->window, -1, SDL_RENDERER_SOFTWARE);
  if (!w->renderer)
    return open_failed(w, error, size, "no renderer");
  SDL_SetWindowMinimumSize(w->window, WINDOW_MIN, WINDOW_MIN);
  SDL_StopTextInput(); /* an input method must not swallow keys */
  w->width = w->height = 0;
  w->expose = true;
  return w;
}

/* One look at the machine: its state and its picture. */
static void frame(struct sdl_window *w) {
  SDL_Rect changed;
  machine_lock(w->machine);
  w->state = w->machine->state;
  if (w->state == MACHINE_QUIT || (w->state == MACHINE_SHUTDOWN && !w->machine->config.no_shutdown))
    w->done = true;
  absolute_check(w);
  bool news = !w->hidden && picture_take(w, &changed);
  machine_unlock(w->machine);
  if (news)
    picture_upload(w, &changed);
  if (w->expose && !w->hidden)
    window_draw(w);
  title_update(w);
}

void sdl_run(struct sdl_window *w) {
  uint32_t next = SDL_GetTicks();
  machine_lock(w->machine);
  if (w->machine->display && w->machine->display->invalidate)
    w->machine->display->invalidate(w->machine->display); /* others may have refreshed it before */
  machine_unlock(w->machine);
  while (!w->done) {
    frame(w);
    next += w->hidden ? HIDDEN_FRAME_MS : FRAME_MS;
    if ((int32_t)(next - SDL_GetTicks()) < 0)
      next = SDL_GetTicks();
    events_until(w, next);
  }
  machine_lock(w->machine);
  capture_set(w, false);
  keys_release(w);
  if (w->machine->state != MACHINE_QUIT &&
      (w->machine->state != MACHINE_SHUTDOWN || w->machine->config.no_shutdown))
    machine_request_quit(w->machine, w->machine->exit_status);
  machine_unlock(w->machine);
}

void sdl_close(struct sdl_window *w) {
  if (!w)
    return;
  stretched_drop(w);
  if (w->texture)
    SDL_DestroyTexture(w->texture);
  if (w->renderer)
    SDL_DestroyRenderer(w->renderer);
  if (w->window)
    SDL_DestroyWindow(w->window);
  free(w->shadow);
  free(w);
  SDL_Quit();
}
