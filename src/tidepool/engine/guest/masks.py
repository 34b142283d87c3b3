"""What of /proc says something of the host, and is hidden in every sandbox."""

FILES = (
    "kcore", "kallsyms", "keys", "key-users", "kmsg", "timer_list", "sched_debug", "slabinfo", "pagetypeinfo",
    "interrupts", "softirqs", "diskstats", "vmallocinfo", "kpagecount", "kpageflags", "kpagecgroup", "sysrq-trigger",
    "config.gz", "latency_stats", "timer_stats", "cmdline", "iomem", "ioports", "modules", "partitions", "swaps",
    "zoneinfo", "buddyinfo", "locks", "bootconfig", "mdstat", "mtrr", "allocinfo", "dma", "sys/kernel/random/boot_id",
)  # fmt: skip
DIRECTORIES = (
    "acpi", "asound", "bus", "driver", "fs", "irq", "scsi", "sysvipc", "tty", "pressure", "dynamic_debug",
)  # fmt: skip
# sysvipc only lists the sandbox's own ipc namespace, but nothing needs it; the rest describes the host.
