/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership by scope: HC_AUTO(hc_tree) *tree = …; releases the tree when the scope ends,
 * HC_LOCKED(&x->shared.lock); unlocks. hc_take() moves an owned pointer out: the scope
 * has nothing left to release. Never use goto in a function that has one of these: clang
 * refuses it, and gcc skips the cleanup without a word.
 */
#ifndef HC_BASE_AUTO_H
#define HC_BASE_AUTO_H

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HC_DEFINE_AUTO(type, release)                                                    \
    static inline void type##_auto(struct type **owner)                                  \
    {                                                                                    \
        release(*owner);                                                                 \
    }

#define HC_AUTO(type) __attribute__((cleanup(type##_auto))) struct type

/* A value, not a pointer: HC_AUTO_VALUE(hc_strings) names = {0}; */
#define HC_DEFINE_AUTO_VALUE(type, release)                                              \
    static inline void type##_auto_value(struct type *value)                             \
    {                                                                                    \
        release(value);                                                                  \
    }

#define HC_AUTO_VALUE(type) __attribute__((cleanup(type##_auto_value))) struct type

#define hc_take(p)                                                                       \
    __extension__({                                                                      \
        __typeof__(*(p)) taken_ = *(p);                                                  \
        *(p) = NULL;                                                                     \
        taken_;                                                                          \
    })

static inline void hc_auto_free(void *owner)
{
    free(*(void **)owner);
}

static inline void hc_auto_close(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static inline void hc_auto_closedir(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir);
}

static inline void hc_auto_fclose(FILE **file)
{
    if (*file)
        (void)fclose(*file);
}

static inline pthread_mutex_t *hc_auto_lock(pthread_mutex_t *lock)
{
    (void)pthread_mutex_lock(lock);
    return lock;
}

static inline void hc_auto_unlock(pthread_mutex_t **lock)
{
    (void)pthread_mutex_unlock(*lock);
}

#define HC_AUTO_FREE __attribute__((cleanup(hc_auto_free)))
#define HC_AUTO_CLOSE __attribute__((cleanup(hc_auto_close)))
#define HC_AUTO_CLOSEDIR __attribute__((cleanup(hc_auto_closedir)))
#define HC_AUTO_FCLOSE __attribute__((cleanup(hc_auto_fclose)))

/*
 * Holds a mutex to the end of the scope: HC_LOCKED(&pool->shared.lock); It is a
 * declaration, so it stands after the others, and a function that unlocks before its end
 * gets a block.
 */
#define HC_LOCKED(lock) HC_LOCKED_AT(lock, __LINE__)
#define HC_LOCKED_AT(lock, line) HC_LOCKED_NAME(lock, line)
/* NOLINTBEGIN(bugprone-macro-parentheses): a declaration has none */
#define HC_LOCKED_NAME(lock, line)                                                       \
    __attribute__((cleanup(hc_auto_unlock), unused)) pthread_mutex_t *locked_##line =    \
        hc_auto_lock(lock)
/* NOLINTEND(bugprone-macro-parentheses) */

#endif
