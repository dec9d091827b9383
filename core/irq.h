/* SPDX-License-Identifier: MIT */
/* An interrupt (or any other) wire, handed to a device by the board. A device sets levels; an edge is 0 then 1. */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

struct irq {
  void (*set)(void *opaque, int n, int level);
  void *opaque;
  int n;
};

static inline void irq_set(const struct irq *irq, int level) {
  if (irq->set)
    irq->set(irq->opaque, irq->n, level);
}
static inline void irq_raise(const struct irq *irq) { irq_set(irq, 1); }
static inline void irq_lower(const struct irq *irq) { irq_set(irq, 0); }
static inline void irq_pulse(const struct irq *irq) {
  irq_set(irq, 1);
  irq_set(irq, 0);
}

#endif
