#!/bin/sh
# A machine of its own for tests of the service: systemd as PID 1 of new namespaces, on an overlay of this machine's root.
#
#   box.sh CGROUP BASE PYTHON PACKAGES SOURCE STATE
#
# It lasts as long as standard input: when whoever holds that ends, by whatever way, all in it is killed and nothing is
# left, neither mounts nor control groups. CGROUP and BASE are made, and removed at the end. PYTHON, PACKAGES and SOURCE
# are the interpreter's prefix, the libraries and this checkout, which appear below /opt; STATE, a folder, is
# /var/lib/finetuned, so that those outside can open the ledger. The network is this machine's.
set -eu

# Inside the new namespaces: the overlay, what a system has beside its root, and then systemd.
enter() {
  mount -t tmpfs box "$BASE"
  cd "$BASE"
  mkdir upper work root
  mount -t overlay box -o "lowerdir=/,upperdir=$BASE/upper,workdir=$BASE/work" root
  cd root
  mount -t proc proc proc
  # As in any container, the kernel's settings are not for those inside.
  mount --bind proc/sys proc/sys && mount -o remount,bind,ro proc/sys
  mount -t sysfs -o ro sysfs sys
  mount -t cgroup2 cgroup sys/fs/cgroup
  for folder in dev run tmp var/tmp var/log root home srv; do mount -t tmpfs -o mode=755 box $folder; done
  chmod 1777 tmp var/tmp
  cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty dev
  mkdir -p dev/pts dev/shm opt/python opt/packages opt/source var/lib/finetuned
  mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  mount --rbind -o ro "$PYTHON" opt/python
  mount --bind -o ro "$PACKAGES" opt/packages
  mount --bind -o ro "$SOURCE" opt/source
  mount --bind "$STATE" var/lib/finetuned
  # Of this machine's services none is started: the journal alone is always there.
  rm -rf etc/fstab etc/systemd/system etc/systemd/journald.conf.d var/lib/systemd/linger
  mkdir -p etc/systemd/system etc/systemd/journald.conf.d
  cp "$SOURCE/tests/support/box.target" etc/systemd/system
  units=lib/systemd/system
  for unit in $units/sysinit.target.wants/* $units/local-fs.target.wants/* systemd-journald-audit.socket \
    systemd-remount-fs.service; do ln -sf /dev/null "etc/systemd/system/${unit##*/}"; done
  rm etc/systemd/system/systemd-journald.service
  printf '[Journal]\nStorage=volatile\nAudit=\nReadKMsg=no\nRateLimitIntervalSec=0\n' > etc/systemd/journald.conf.d/box.conf
  tr -d - < /proc/sys/kernel/random/uuid > etc/machine-id
  mkdir -p "$BASE/root/mnt/outside"
  pivot_root . mnt/outside
  umount -l mnt/outside
  mount --make-rshared /
  exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set=-sys_module,-sys_time,-sys_boot,-syslog /lib/systemd/systemd --unit=box.target \
    --show-status=no
}

if [ "$1" = inside ]; then
  enter
fi
export CGROUP=$1 BASE=$2 PYTHON=$3 PACKAGES=$4 SOURCE=$5 STATE=$6
mkdir "$CGROUP" "$BASE"
{
  unshare --mount --pid --uts --ipc --fork --kill-child \
    sh -c 'echo 0 > "$CGROUP/cgroup.procs"; exec unshare --cgroup sh "$0" inside' "$0" < /dev/null || true
  echo "the box has ended"
} &
cat > /dev/null
echo 1 > "$CGROUP/cgroup.kill"
wait
until find "$CGROUP" -depth -type d -exec rmdir {} + 2> /dev/null; do :; done
rmdir "$BASE"
