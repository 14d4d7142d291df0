//go:build !linux

package service

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
