#!/bin/sh
# Tries the README's first commands in a fresh Debian, as a user without any of our packages.
#
# Usage: sudo tests/fresh_debian.sh trixie    (Debian 13, with Python 3.13)
#        sudo tests/fresh_debian.sh forky     (Debian testing, with Python 3.14)
#
# Needs debootstrap, 4 GB in $TMPDIR or /tmp, and 15 minutes. The folder of the fresh Debian isn't
# removed, so that you can go there with chroot.
set -eu

# The mounts below end with the script, because it has a mount namespace of its own.
[ -n "${UNSHARED:-}" ] || UNSHARED=yes exec unshare --mount "$0" "$@"

debian=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX")
chmod 755 "$debian"
# Older debootstraps don't know a new suite. The steps for sid work for all suites.
debootstrap --variant=minbase --include=ca-certificates,python3 "$1" "$debian" "" sid
for folder in proc sys dev; do
    mount --rbind "/$folder" "$debian/$folder"
done

# Types a command in the user's home, with our environment, in which PIP_* variables may be set.
as() {
    echo
    echo "$1\$ $2"
    HOME=/home/reader PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        chroot --userspec="$1" "$debian" sh -c "cd ~/tutorial && $2"
}

chroot "$debian" useradd --create-home reader
mkdir "$debian/home/reader/tutorial"
# The files of the working tree, including the new ones. Deleted ones are only warned about.
cd "$(dirname "$0")/.."
git ls-files -z --cached --others --exclude-standard |
    tar --create --null --files-from=- --ignore-failed-read |
    tar --extract --directory="$debian/home/reader/tutorial"
chroot "$debian" chown --recursive reader: /home/reader

as root "apt-get install -qq --yes make"
as reader "make run" && exit 1  # It fails, because python3-venv isn't there, and says so.
as root "apt-get install -qq --yes git make python3-venv"
# The network of this machine may need its own certificates.
cp -L /etc/ssl/certs/ca-certificates.crt "$debian/etc/ssl/certs/"
as reader "make run"
as reader "du -sh .venv"
as reader "make test"
