/* SPDX-License-Identifier: MIT */
/* The monitor's commands about the network: info network, info usernet, set_link, hostfwd_add,
 * hostfwd_remove. */
#include <string.h>

#include "frontends/monitor.h"
#include "frontends/net.h"

void cmd_info_network(struct monitor_env *env, char *args, FILE *out) {
  (void)args;
  if (env->nets)
    net_info(env->nets, out);
}

void cmd_info_usernet(struct monitor_env *env, char *args, FILE *out) {
  (void)args;
  for (struct net_backend *b = env->nets ? env->nets->first : NULL; b; b = b->next)
    if (b->options->kind == NET_USER)
      net_user_info(b, out);
}

void cmd_set_link(struct monitor_env *env, char *args, FILE *out) {
  char *name = monitor_need(&args, "set_link", "device name", out);
  char *word = name ? monitor_need(&args, "set_link", "on or off", out) : NULL;
  if (!word || !monitor_end(&args, "set_link", out))
    return;
  struct net_backend *b = env->nets ? net_find(env->nets, name, -1) : NULL;
  if (!b)
    fprintf(out, "Error: Device '%s' not found\n", name);
  else if (!strcmp(word, "on") || !strcmp(word, "off"))
    net_set_link(b->cable, !strcmp(word, "on"));
  else
    fprintf(out, "Error: Parameter 'up' expects 'on' or 'off'\n");
}

/* hostfwd_add [netdev] [tcp|udp]:[HOST]:PORT-[GUEST]:PORT; hostfwd_remove without the guest's part. */
static void forward(struct monitor_env *env, char *args, bool add, FILE *out) {
  const char *command = add ? "hostfwd_add" : "hostfwd_remove";
  char *name = NULL, *rule = monitor_need(&args, command, "a forwarding rule", out), why[200];
  char *second = rule ? monitor_word(&args) : NULL;
  if (!rule || !monitor_end(&args, command, out))
    return;
  if (second) {
    name = rule;
    rule = second;
  }
  struct net_backend *b = env->nets ? net_find(env->nets, name, NET_USER) : NULL;
  struct net_forward f;
  if (!b)
    fprintf(out, name ? "no user network '%s'\n" : "there is no user network\n", name);
  else if (!(add ? net_parse_forward(rule, &f, why, sizeof why)
                 : net_parse_forward_host(rule, &f, why, sizeof why)))
    fprintf(out, "invalid host forwarding rule: %s\n", why);
  else if (!net_user_forward(b, &f, add))
    fprintf(out,
            add ? "could not set up host forwarding rule '%s'\n" : "host forwarding rule for %s not found\n",
            rule);
  else if (!add)
    fprintf(out, "host forwarding rule for %s removed\n", rule);
}

void cmd_hostfwd_add(struct monitor_env *env, char *args, FILE *out) { forward(env, args, true, out); }
void cmd_hostfwd_remove(struct monitor_env *env, char *args, FILE *out) { forward(env, args, false, out); }
